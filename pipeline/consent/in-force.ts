import { traceIdOf } from '../agent/ids.ts'
import type { Consent, ConsentType } from './record.ts'

/** What a tenant's people agree to now: whose records the state store has. */
export interface ConsentView {
  /** Revoked and expired ones too. */
  consentsOf(tenant: string): readonly Consent[]
}

export type ConsentStatus = 'active' | 'revoked' | 'expired'

export function consentStatus({ revoked_ms, expires_ms }: Consent, nowMs: number): ConsentStatus {
  if (revoked_ms !== undefined) return 'revoked'
  return expires_ms !== undefined && expires_ms <= nowMs ? 'expired' : 'active'
}

/** Whether somebody has agreed to `type` for this run of the tenant. `trace`: its trace id in lower-case hex. */
export function isAgreed(
  view: ConsentView,
  { tenant, type, trace }: { readonly tenant: string; readonly type: ConsentType; readonly trace: string },
  nowMs: number,
): boolean {
  return view
    .consentsOf(tenant)
    .some((each) => each.type === type && consentStatus(each, nowMs) === 'active' && covers(each, trace))
}

/** Whether any run of the tenant may be agreed to: a quick answer for tenants of which nobody has agreed to anything. */
export function isAgreedForSome(
  view: ConsentView,
  tenant: string,
  type: ConsentType,
  nowMs: number,
): boolean {
  return view.consentsOf(tenant).some((each) => each.type === type && consentStatus(each, nowMs) === 'active')
}

/** Of `others`, what allows the same as `ended` did, of whatever runs. */
export function stillAgreed(ended: Consent, others: readonly Consent[], nowMs: number): readonly Consent[] {
  return others.filter(
    (each) => each.id !== ended.id && each.type === ended.type && consentStatus(each, nowMs) === 'active',
  )
}

function covers(consent: Consent, trace: string): boolean {
  return consent.runs === undefined || tracesOf(consent).has(trace)
}

const TRACES = new WeakMap<Consent, ReadonlySet<string>>()

/** The trace ids of the runs that a consent names. */
export function tracesOf(consent: Consent): ReadonlySet<string> {
  const known = TRACES.get(consent)
  if (known !== undefined) return known
  const traces = new Set((consent.runs ?? []).map((id) => traceIdOf(consent.tenant, id).toString('hex')))
  TRACES.set(consent, traces)
  return traces
}
