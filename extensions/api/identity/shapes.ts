import { consentStatus } from '../../../pipeline/consent/in-force.ts'
import type { Consent } from '../../../pipeline/consent/record.ts'
import { isInForce } from '../../../pipeline/identity/keyring.ts'
import type { Agent, Key, Project, Tenant } from '../../../pipeline/identity/records.ts'

/** Records as the API shows them: times in RFC 3339, nothing that proves anything. */

export function tenantShape({ id, name, tier, status, limits, created_ms }: Tenant) {
  return { id, name, tier, status, limits: limits ?? {}, created: time(created_ms) }
}

export function projectShape({ tenant, id, name, status, limits, created_ms }: Project) {
  return { tenant, id, name, status, limits: limits ?? {}, created: time(created_ms) }
}

export function agentShape({ tenant, id, name, version, capabilities, status, created_ms }: Agent) {
  return { tenant, id, name, version, capabilities, status, created: time(created_ms) }
}

export function keyShape(key: Key, nowMs: number, usedMs: number | undefined) {
  const { id, kind, name, roles, tenant, project, agent } = key
  return {
    id,
    kind,
    name,
    tenant: tenant ?? null,
    project: project ?? null,
    agent: agent ?? null,
    roles,
    ...(key.kind === 'certificate' ? { binding: key.binding } : { env: key.env }),
    status: statusOf(key, nowMs),
    created: time(key.created_ms),
    expires: timeOrNull(key.expires_ms),
    revoked: timeOrNull(key.revoked_ms),
    last_used: timeOrNull(usedMs),
  }
}

export function consentShape(consent: Consent, nowMs: number) {
  const { id, tenant, type, runs, granted_by, note, granted_ms, expires_ms, revoked_ms, revoked_by } = consent
  return {
    id,
    tenant,
    type,
    /** null: all runs of the tenant. */
    runs: runs ?? null,
    status: consentStatus(consent, nowMs),
    granted_by,
    note,
    granted: time(granted_ms),
    expires: timeOrNull(expires_ms),
    revoked: timeOrNull(revoked_ms),
    revoked_by: revoked_by ?? null,
  }
}

function statusOf(key: Key, nowMs: number): 'active' | 'expired' | 'revoked' {
  if (isInForce(key, nowMs)) return 'active'
  return key.revoked_ms === undefined ? 'expired' : 'revoked'
}

function time(ms: number): string {
  return new Date(ms).toISOString()
}

function timeOrNull(ms: number | undefined): string | null {
  return ms === undefined || Number.isNaN(ms) ? null : time(ms)
}
