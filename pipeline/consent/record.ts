import { z } from 'zod'
import { MAX_RUN_ID } from '../agent/event.ts'
import { tenantId, text, VERSION } from '../identity/records.ts'
import { stateKey, type StateKey } from '../state/state.ts'

/**
 * What the people behind the data have agreed to, one record each, beside the other identity records (and followed with
 * them): identity.consent.<tenant>.<consent>. A record is evidence: it is never deleted, and revoked only once.
 */
export const CONSENT_TYPES = [
  'raw_trace_storage',
  'llm_response_caching',
  'extended_retention',
  'analytics',
  'model_training',
] as const
export type ConsentType = (typeof CONSENT_TYPES)[number]

export const MAX_CONSENT_RUNS = 64
const time = z.int().nonnegative()

/** Who agreed, or took it back: a person, a contract, a ticket. */
export const granter = text.min(1)
export const consentRuns = z.array(z.string().min(1).max(MAX_RUN_ID)).min(1).max(MAX_CONSENT_RUNS).readonly()

export const consent = z.object({
  v: z.literal(VERSION),
  tenant: tenantId,
  id: z.string().regex(/^[a-z0-9]{1,32}$/),
  type: z.enum(CONSENT_TYPES),
  /** Run ids; absent: all runs of the tenant, later ones too. */
  runs: consentRuns.optional(),
  granted_by: granter,
  note: text,
  granted_ms: time,
  expires_ms: time.optional(),
  revoked_ms: time.optional(),
  revoked_by: granter.optional(),
})
export type Consent = z.output<typeof consent>

export const consentKey = (tenant: string, id: string): StateKey =>
  stateKey('identity', 'consent', tenant, id)
