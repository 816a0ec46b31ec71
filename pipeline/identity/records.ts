import { z } from 'zod'
import { TENANT } from '../admission.ts'
import { stateKey, type StateKey } from '../state/state.ts'

/**
 * What the state store knows of senders, one record each, written by compare-and-set only:
 *   identity.tenant.<tenant>   identity.project.<tenant>.<project>   identity.agent.<tenant>.<agent>
 *   identity.key.<key>         everything that proves who somebody is: API keys, HMAC secrets, certificates
 * `v` is the record's format; one of a newer weir is not read.
 */
export const VERSION = 1
export const IDENTITY = stateKey('identity')

export const TIERS = ['free', 'paid', 'enterprise'] as const
export const ROLES = ['ingest', 'read', 'admin'] as const
export type Role = (typeof ROLES)[number]

export const tenantId = z.string().regex(TENANT, 'must match ^[a-z0-9][a-z0-9_-]{0,62}$')
/** Projects and agents are named like tenants: their ids become labels and parts of keys. */
export const partId = z
  .string()
  .regex(/^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$/, 'must match ^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$')
/** No control or format characters: it is printed in tables. */
export const text = z
  .string()
  .max(256)
  .regex(/^[^\p{C}]*$/u, 'must hold no control characters')

const amount = z.number().nonnegative().finite().optional()

/** What differs from the tier's limits; 0 allows nothing. */
export const limits = z.strictObject({
  events_per_minute: amount,
  bytes_per_second: amount,
  in_flight_bytes: amount,
  spans_per_day: amount,
  usd_per_day: amount,
})

const status = z.enum(['active', 'disabled'])
const version = z.literal(VERSION)
const time = z.int().nonnegative()

export const tenant = z.object({
  v: version,
  id: tenantId,
  name: text,
  tier: z.enum(TIERS),
  /** Disabled: nothing of it is taken in, and none of its keys is good for anything. */
  status,
  limits: limits.optional(),
  created_ms: time,
})

export const project = z.object({
  v: version,
  tenant: tenantId,
  id: partId,
  name: text,
  status,
  limits: limits.optional(),
  created_ms: time,
})

export const agent = z.object({
  v: version,
  tenant: tenantId,
  id: partId,
  name: text,
  /** Of the agent, as its operator counts. */
  version: text,
  capabilities: z.array(text.min(1)).max(256).readonly(),
  status,
  created_ms: time,
})

const base64 = z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/)

/** AES-256-GCM (`vault.ts`): the master key's id, nonce of 96 bits, ciphertext with its tag. */
export const sealed = z.object({ kek: z.string(), nonce: base64, data: base64 })
export type Sealed = z.output<typeof sealed>

const credential = {
  v: version,
  id: z.string().regex(/^[a-z0-9]{1,32}$/),
  name: text,
  /** Absent: over all tenants (role admin only). */
  tenant: tenantId.optional(),
  project: partId.optional(),
  agent: partId.optional(),
  roles: z.array(z.enum(ROLES)).min(1).readonly(),
  created_ms: time,
  expires_ms: time.optional(),
  revoked_ms: time.optional(),
  /** The key that replaces it. */
  successor: z.string().optional(),
}

export const key = z.discriminatedUnion('kind', [
  z.object({
    ...credential,
    kind: z.literal('api'),
    env: z.string(),
    /** Hex, of the whole key as it was printed once. */
    sha256: z.string().regex(/^[0-9a-f]{64}$/),
  }),
  z.object({ ...credential, kind: z.literal('hmac'), env: z.string(), sealed }),
  z.object({
    ...credential,
    kind: z.literal('certificate'),
    /** `san:DNS:a.example`, `san:URI:spiffe://…`, or `spki:` and the SHA-256 (hex) of the public key. */
    binding: z.string().regex(/^(?:san:[A-Za-z ]+:.+|spki:[0-9a-f]{64})$/),
  }),
])

export type Limits = z.output<typeof limits>
export type Tenant = z.output<typeof tenant>
export type Project = z.output<typeof project>
export type Agent = z.output<typeof agent>
export type Key = z.output<typeof key>
export type HmacKey = Extract<Key, { readonly kind: 'hmac' }>
export type KeyKind = Key['kind']

export const tenantKey = (id: string): StateKey => stateKey('identity', 'tenant', id)
export const projectKey = (tenant: string, id: string): StateKey =>
  stateKey('identity', 'project', tenant, id)
export const agentKey = (tenant: string, id: string): StateKey => stateKey('identity', 'agent', tenant, id)
export const keyKey = (id: string): StateKey => stateKey('identity', 'key', id)
