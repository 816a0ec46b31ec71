import type { IdentityView } from '../../pipeline/identity/view.ts'
import { DAY_MS, dayOf, type Cutoffs, type Retained } from '../../pipeline/retention.ts'
import type { Config } from './config.ts'

/** Stands for all that the directory does not know; no tenant's id. */
const UNKNOWN = '?'

/**
 * When things are over their time at `nowMs`. `only`: as if all other tenants kept theirs for ever. What has no tenant, the
 * audit log, is never one tenant's affair.
 */
export function cutoffsOf(
  config: Config,
  identity: IdentityView,
  kind: Retained,
  nowMs: number,
  only?: string,
): Cutoffs {
  const of = (tenant: string): number => {
    if (only !== undefined && tenant !== only) return -Infinity
    const days = daysOf(config, identity, kind, tenant)
    return days === 0 ? -Infinity : (dayOf(nowMs) - days) * DAY_MS
  }
  const known = [UNKNOWN, ...Object.keys(config.tenants), ...Array.from(identity.tenants(), ({ id }) => id)]
  const times = (only === undefined ? known : [UNKNOWN, only]).map(of)
  return { of, latestMs: Math.max(...times), earliestMs: Math.min(...times) }
}

/** 0: for ever. */
function daysOf(config: Config, identity: IdentityView, kind: Retained, tenant: string): number {
  const own = Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined
  switch (kind) {
    case 'traces':
      // What another program wrote into the table is not ours to delete.
      if (tenant === '') return config.without_tenant
      return own?.traces ?? config.traces[identity.tenant(tenant)?.tier ?? config.default_tier]
    case 'dead_letters':
      return own?.dead_letters ?? config.dead_letters
    case 'audit':
      return config.audit
    case 'wal':
    default:
      return 0
  }
}
