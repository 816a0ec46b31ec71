import { everyConsent } from '../../pipeline/consent/consents.ts'
import { consentStatus, type ConsentStatus } from '../../pipeline/consent/in-force.ts'
import type { Consent, ConsentType } from '../../pipeline/consent/record.ts'
import type { Heads } from '../../pipeline/jobs/feeders.ts'
import { stateKey, type StateKey, type StateStore } from '../../pipeline/state/state.ts'

/** A consent that is over, and of which not everything has been taken away yet. */
export interface Ended {
  readonly consent: Consent
  readonly how: Exclude<ConsentStatus, 'active'>
  /** From 1. */
  readonly pass: number
  /** How far the logs were after the first pass: what came before may be as the consent allowed it. */
  readonly heads?: Heads | undefined
}

/** What state knows of it, JSON: `consent-ended.<tenant>.<consent>`. Stays as long as the consent's record, which is for ever. */
interface Acted {
  readonly v: 1
  readonly passes: number
  readonly atMs: number
  readonly heads?: Heads
}

/** What was on its way when a consent ended, or under the old rules when it was first acted on, is found by a second pass. */
const PASSES: Partial<Record<ConsentType, number>> = { llm_response_caching: 2, raw_trace_storage: 2 }

/** Answers first, which need nobody else; then by tenant and id. */
export async function endedConsents(
  state: StateStore,
  {
    nowMs,
    gapMs,
    tenant,
  }: { readonly nowMs: number; readonly gapMs: number; readonly tenant?: string | undefined },
): Promise<readonly Ended[]> {
  const below = tenant === undefined ? [] : [tenant]
  const acted = new Map(
    (await state.list(stateKey('consent-ended', ...below))).map(({ key, value }) => [
      key,
      JSON.parse(Buffer.from(value).toString()) as Acted,
    ]),
  )
  const due = (await everyConsent(state, tenant)).flatMap((consent) => {
    const how = consentStatus(consent, nowMs)
    const { passes, atMs, heads }: Omit<Acted, 'v'> = acted.get(keyOf(consent)) ?? NEVER
    if (how === 'active' || passes >= (PASSES[consent.type] ?? 1) || nowMs < atMs + gapMs) return []
    return [{ consent, how, pass: passes + 1, heads }]
  })
  return due.toSorted((a, b) => (orderOf(a.consent) < orderOf(b.consent) ? -1 : 1))
}

const NEVER = { passes: 0, atMs: -Infinity }

/** Called by whoever holds the job's lease. */
export async function noteActed(
  state: StateStore,
  { consent, pass }: Ended,
  nowMs: number,
  heads: Heads,
): Promise<void> {
  const acted: Acted = { v: 1, passes: pass, atMs: nowMs, heads }
  await state.put(keyOf(consent), Buffer.from(JSON.stringify(acted)))
}

function keyOf({ tenant, id }: Consent): StateKey {
  return stateKey('consent-ended', tenant, id)
}

function orderOf({ type, tenant, id }: Consent): string {
  return `${type === 'raw_trace_storage' ? 1 : 0}/${tenant}/${id}`
}
