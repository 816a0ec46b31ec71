import type { ConsentView } from '../consent/in-force.ts'
import type { Agent, HmacKey, Key, Project, Tenant } from './records.ts'

/** Who may send, as the state store has it now: a change by any daemon is seen here within seconds. */
export interface IdentityView extends ConsentView {
  /** Undefined: no such tenant. Look at `status` too. */
  tenant(id: string): Tenant | undefined
  project(tenant: string, id: string): Project | undefined
  agent(tenant: string, id: string): Agent | undefined
  /** By the id that stands in it. Expired and revoked ones too. */
  key(id: string): Key | undefined
  /** The key of kind `certificate` for `san:<TYPE>:<value>` or `spki:<hex>`. */
  bound(binding: string): Key | undefined
  /** The HMAC secrets of a tenant, expired and revoked ones too. */
  secretsOf(tenant: string): readonly HmacKey[]
  tenants(): Iterable<Tenant>
  projects(): Iterable<Project>
  agents(): Iterable<Agent>
  keys(): Iterable<Key>
  /** False: the store holds records that this weir cannot read, which `keys` and the others leave out. */
  isWhole(): boolean
  /** Rejects with Fault STATE_UNAVAILABLE (retry) when the store is silent for so long that a revocation may be unknown here. */
  ensureFresh(): Promise<void>
}

/** Nobody is known. */
export const NOBODY_KNOWN: IdentityView = {
  tenant: () => undefined,
  project: () => undefined,
  agent: () => undefined,
  key: () => undefined,
  bound: () => undefined,
  secretsOf: () => [],
  consentsOf: () => [],
  tenants: () => [],
  projects: () => [],
  agents: () => [],
  keys: () => [],
  isWhole: () => true,
  ensureFresh: () => Promise.resolve(),
}
