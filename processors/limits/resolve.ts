import type { IdentityView } from '../../pipeline/identity/view.ts'
import type { Limits } from '../../pipeline/identity/records.ts'
import type { LimitsConfig, TenantLimits } from './config.ts'

type Some = Partial<{ readonly [name in keyof TenantLimits]: number | undefined }>

/** The limits of a tenant: config by name, then what is registered of it, then its tier; unregistered: `default`. */
export function limitsOf(config: LimitsConfig, identity: IdentityView, tenant: string): TenantLimits {
  const registered = identity.tenant(tenant)
  const general = registered === undefined ? config.default : config.tiers[registered.tier]
  return layered(general, registered?.limits, byName(config, tenant))
}

/** What holds for a project beside the limits of its tenant; undefined: nothing does. */
export function projectLimitsOf(
  config: LimitsConfig,
  identity: IdentityView,
  tenant: string,
  project: string,
): TenantLimits | undefined {
  const registered = identity.project(tenant, project)?.limits
  const projects = byName(config, tenant)?.projects
  const named = projects !== undefined && Object.hasOwn(projects, project) ? projects[project] : undefined
  if (registered === undefined && named === undefined) return undefined
  return layered(NO_LIMITS, registered, named)
}

const NO_LIMITS: TenantLimits = {
  events_per_minute: Number.POSITIVE_INFINITY,
  bytes_per_second: Number.POSITIVE_INFINITY,
  in_flight_bytes: Number.POSITIVE_INFINITY,
  request_bytes: Number.POSITIVE_INFINITY,
  spans_per_day: Number.POSITIVE_INFINITY,
  usd_per_day: Number.POSITIVE_INFINITY,
}

function byName(config: LimitsConfig, tenant: string) {
  return Object.hasOwn(config.tenants, tenant) ? config.tenants[tenant] : undefined
}

function layered(general: TenantLimits, ...specials: readonly (Some | Limits | undefined)[]): TenantLimits {
  const limits: Record<keyof TenantLimits, number> = { ...general }
  for (const special of specials as readonly (Some | undefined)[]) {
    for (const name of Object.keys(general) as (keyof TenantLimits)[]) {
      limits[name] = special?.[name] ?? limits[name]
    }
  }
  return limits
}
