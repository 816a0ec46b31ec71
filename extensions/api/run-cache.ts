import { isAgreed } from '../../pipeline/consent/in-force.ts'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import { CACHING, keptCalls, type KeptCall } from '../../pipeline/run-replay/cache.ts'
import { canonicalRequest, type CallRequest } from '../../pipeline/run-replay/request.ts'
import { TenantKeys } from '../../pipeline/run-replay/tenant-keys.ts'
import type { RunSteps } from '../../pipeline/runs/steps.ts'
import type { Principal } from './principal.ts'

export type CacheServices = Pick<Context, 'state' | 'identity' | 'vault' | 'clock'>

/** What is kept of runs, for those who may read them. */
export class RunCache {
  readonly #services: CacheServices
  readonly #keys: TenantKeys | undefined

  constructor(services: CacheServices) {
    const { state, vault } = services
    this.#services = services
    this.#keys = vault === undefined ? undefined : new TenantKeys(state, vault)
  }

  /** Everything that may be answered again. */
  async kept({ tenant, traceId: trace }: RunSteps): Promise<readonly KeptCall[]> {
    const { state, identity, clock } = this.#services
    if (this.#keys === undefined) return []
    return keptCalls({ state, keys: this.#keys, consents: identity }, { tenant, trace }, clock())
  }

  /** Why an answer is not there. */
  reason({ tenant, traceId: trace }: RunSteps): string {
    const { identity, clock } = this.#services
    if (this.#keys === undefined) return 'no answers are kept: the state extension has no master_key'
    if (!isAgreed(identity, { tenant, type: CACHING, trace }, clock())) {
      return `no answer may be used: nobody agrees to ${CACHING} for this run`
    }
    return 'its answer is not kept: it is over, was too large, or another call took its place'
  }

  /** The key that a request has; undefined where nothing is kept at all. */
  async keyOf(tenant: string, request: CallRequest): Promise<string | undefined> {
    return (await this.#keys?.of(tenant))?.hash(canonicalRequest(request))
  }
}

/** The token's tenant, or the one that who may see all asks for. */
export function tenantFor({ role, tenant }: Principal, asked: string | undefined): string | undefined {
  if (tenant === undefined && role !== 'admin') throw reject('PERMISSION_DENIED', 'the token names no tenant')
  if (tenant !== undefined && asked !== undefined && tenant !== asked) {
    throw reject('PERMISSION_DENIED', 'the token is for another tenant')
  }
  return tenant ?? asked
}
