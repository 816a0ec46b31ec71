import { isAgreed, stillAgreed, tracesOf, type ConsentView } from '../consent/in-force.ts'
import type { Consent } from '../consent/record.ts'
import { stateKey, type StateKey, type StateStore } from '../state/state.ts'
import { dayKey, dayOf, openCalls, type Answer, type CachedCall } from './cache-record.ts'
import type { TenantKeys } from './tenant-keys.ts'

/** The cache is there by this consent only. */
export const CACHING = 'llm_response_caching'

/** Nothing is kept for longer. */
export const MAX_EXPIRY_DAYS = 90

/** A call that can be answered again. */
export interface KeptCall {
  readonly kind: 'llm' | 'tool'
  readonly key: string
  /** How many calls of the run before it had this key. */
  readonly occurrence: number
  readonly span: string
  readonly answer: Answer
}

export interface CacheParts {
  readonly state: StateStore
  readonly keys: TenantKeys
  readonly consents: ConsentView
}

/** What is kept of a run, in order; nothing where nobody agrees to it (any more), or it is over. */
export async function keptCalls(
  { state, keys, consents }: CacheParts,
  { tenant, trace }: { readonly tenant: string; readonly trace: string },
  nowMs: number,
): Promise<readonly KeptCall[]> {
  if (!isAgreed(consents, { tenant, type: CACHING, trace }, nowMs)) return []
  const key = await keys.of(tenant)
  const days = await keptDays(state, nowMs)
  const entries = await Promise.all(days.map((day) => state.list(dayKey(day, tenant, trace))))
  return joined(entries.flat().flatMap((entry) => openCalls(key, entry.key, entry.value, nowMs) ?? []))
}

/** Requests and answers that are spans of their own become one; occurrences are counted in the order of the run. */
function joined(calls: readonly CachedCall[]): readonly KeptCall[] {
  const answers = new Map<string, Answer>()
  for (const { parent, answer } of calls) {
    if (parent !== undefined && answer !== undefined) answers.set(parent, answer)
  }
  const isNumbered = calls.every(({ seq }) => seq !== undefined)
  const ordered = [...new Map(calls.map((call) => [call.span, call])).values()].sort(
    isNumbered ? (a, b) => (a.seq ?? 0) - (b.seq ?? 0) : byStart,
  )
  const seen = new Map<string, number>()
  return ordered.flatMap(({ kind, key, span, answer = answers.get(span) }) => {
    if (key === undefined) return []
    const occurrence = seen.get(key) ?? 0
    seen.set(key, occurrence + 1)
    return answer === undefined ? [] : [{ kind, key, occurrence, span, answer }]
  })
}

function byStart(a: CachedCall, b: CachedCall): number {
  const order = BigInt(a.startNs) - BigInt(b.startNs)
  if (order !== 0n) return order < 0n ? -1 : 1
  return a.span < b.span ? -1 : 1
}

const OLDEST = stateKey('replay-days')

/** The oldest day that may hold anything. */
async function oldestDay(state: StateStore): Promise<number> {
  const entry = await state.get(OLDEST)
  return entry === undefined ? 0 : Number(Buffer.from(entry.value).toString())
}

/** Those of which anything may be kept. */
async function keptDays(state: StateStore, nowMs: number): Promise<number[]> {
  const from = Math.max(dayOf(nowMs) - MAX_EXPIRY_DAYS, await oldestDay(state))
  // A day more: clocks of daemons differ.
  const to = dayOf(nowMs) + 1
  return Array.from({ length: Math.max(0, to - from + 1) }, (_, at) => from + at)
}

/** Forgets the days before the one of `beforeMs`. */
export async function forgetDays(state: StateStore, beforeMs: number): Promise<void> {
  const first = dayOf(beforeMs)
  const oldest = Math.max(await oldestDay(state), first - MAX_EXPIRY_DAYS - 1)
  for (let day = oldest; day < first; day++) await state.forget(dayKey(day))
  if (oldest < first || (await state.get(OLDEST)) === undefined) {
    await state.put(OLDEST, Buffer.from(String(first)))
  }
}

/** Deletes what is kept of a run, which is looked for where somebody has ever agreed to keep anything of the tenant. */
export async function forgetRun(
  { state, identity }: { readonly state: StateStore; readonly identity: ConsentView },
  { tenant, trace }: { readonly tenant: string; readonly trace: string },
  nowMs: number,
): Promise<void> {
  if (!identity.consentsOf(tenant).some(({ type }) => type === CACHING)) return
  for (const day of await keptDays(state, nowMs)) await state.forget(dayKey(day, tenant, trace))
}

/**
 * Deletes what was kept by a consent that has ended, in every store process's sight: of the runs that it names, or all of
 * the tenant's. What another consent still allows stays. True: there was something to look for.
 */
export async function forgetConsented(
  state: StateStore,
  ended: Consent,
  others: readonly Consent[],
  nowMs: number,
): Promise<boolean> {
  const places = await consentedPlaces(state, ended, others, nowMs)
  for (const place of places ?? []) await state.forget(place)
  return places !== undefined
}

/** Where what only `ended` allowed may be kept; undefined: another consent allows all of it, or it is not about answers. */
export async function consentedPlaces(
  state: StateStore,
  ended: Consent,
  others: readonly Consent[],
  nowMs: number,
): Promise<readonly StateKey[] | undefined> {
  if (ended.type !== CACHING) return undefined
  const valid = stillAgreed(ended, others, nowMs)
  if (valid.some(({ runs }) => runs === undefined)) return undefined
  const { tenant } = ended
  const days = await keptDays(state, nowMs)
  const kept = new Set(valid.flatMap((each) => [...tracesOf(each)]))
  if (ended.runs !== undefined) {
    const traces = [...tracesOf(ended)].filter((trace) => !kept.has(trace))
    return days.flatMap((day) => traces.map((trace) => dayKey(day, tenant, trace)))
  }
  if (kept.size === 0) return days.map((day) => dayKey(day, tenant))
  const places = new Set<StateKey>()
  for (const day of days) {
    for (const { key } of await state.list(dayKey(day, tenant))) {
      const trace = key.split('.')[3] ?? ''
      if (!kept.has(trace)) places.add(dayKey(day, tenant, trace))
    }
  }
  return [...places]
}
