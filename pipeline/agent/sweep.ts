import { faultOf, messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import { acquireLease } from '../state/lease.ts'
import { stateKey, type StateEntry } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Counter } from '../telemetry/meter.ts'
import { runIdOf, type RunId } from './ids.ts'
import { endRun, writeEnd } from './lifecycle.ts'
import { DAY_MS, dayOf } from './marks.ts'
import type { RunServices } from './publish.ts'
import {
  decode,
  infoKey,
  openKey,
  pageKey,
  recordKey,
  KEYS_PER_PAGE,
  type KeyEntry,
  type RunMark,
  type RunRecord,
} from './run-record.ts'

export interface SweepOptions {
  readonly services: RunServices
  readonly log: Log
  /** A run without events for this long is closed as abandoned. */
  readonly idleMs: number
  /** How long runs and their keys are remembered after their end. */
  readonly keepMs: number
  /** Idempotency keys of a tenant that are remembered; the oldest leave first. */
  readonly maxKeys: number
  readonly everyMs: number
  /** Keys that left before their time. */
  readonly forgotten: Counter
  /** Name in the lease, unique among daemons. */
  readonly holder: string
}

/** Of runs that ended on days before the oldest one that is kept, so many days are looked at. */
const DAYS_BACK = 30
/** A root span that another daemon may be writing at this moment is left to it. */
const WRITING_MS = 60_000

/** Ends abandoned runs, writes root spans that a crash left out, and forgets what is old. One daemon at a time does it. */
export async function sweepRuns(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { services, everyMs, holder, log } = options
  while (!signal.aborted) {
    const lease = await acquireLease(services.state(), `runs ${services.receiver}`, holder, { signal })
    if (lease === undefined) return
    const ended = AbortSignal.any([signal, lease.lost])
    while (!ended.aborted) {
      try {
        await sweepOnce(options, ended)
      } catch (error) {
        log.warn({ error: messageOf(error) }, 'runs were not looked through; next time')
      }
      await sleep(everyMs * (0.75 + Math.random() / 2), ended)
    }
    await lease.release()
  }
}

export async function sweepOnce(options: SweepOptions, signal: AbortSignal): Promise<void> {
  const { services } = options
  const open = await services.state().list(stateKey('run-open', services.receiver))
  const keys = new Map<string, number>()
  for (const entry of open) {
    if (signal.aborted) return
    // One tenant's that the pipeline does not take now must not hold up the others.
    await lookAt(options, runOf(entry), keys).catch((error: unknown) => {
      if (isStateFault(error)) throw error
      options.log.warn({ run: String(entry.key), error: messageOf(error) }, 'a run was not closed; next time')
    })
  }
  await forgetOld(options, signal, keys)
}

function isStateFault(error: unknown): boolean {
  return faultOf(error)?.code === 'STATE_UNAVAILABLE'
}

async function lookAt(options: SweepOptions, run: RunId, keys: Map<string, number>): Promise<void> {
  const { services, idleMs } = options
  const nowMs = services.clock()
  const record = await services.store.read(run)
  if (record === undefined) {
    // Its first write never came; or is under way, and then comes back with it.
    return
  }
  if (record.closed !== undefined) {
    if (nowMs - record.closed.atMs > WRITING_MS) await writeEnd(services, run, record)
    return
  }
  if (nowMs - record.touchedMs > idleMs) {
    const message = `no event for ${Math.round(idleMs / 1000)} s`
    await endRun(services, { run, status: 'abandoned', message, idleSinceMs: nowMs - idleMs })
    return
  }
  const held = record.keys.length + (record.pages[1] - record.pages[0]) * KEYS_PER_PAGE
  const total = (keys.get(run.tenant) ?? 0) + held
  keys.set(run.tenant, total)
  if (record.pages[0] < record.pages[1]) await dropPages(options, run, record, total - options.maxKeys)
}

/** Pages of an open run whose keys are all old, or that are over the tenant's share. */
async function dropPages(options: SweepOptions, run: RunId, record: RunRecord, over: number): Promise<void> {
  const { services, keepMs, forgotten } = options
  const oldestMs = services.clock() - keepMs
  const [first, end] = record.pages
  let next = first
  let left = over
  for (; next < end; next++) {
    const entry = await services.state().get(pageKey(run, next))
    const page = entry === undefined ? [] : (decode(entry.value) as KeyEntry[])
    const isOld = page.every(({ atMs }) => atMs < oldestMs)
    if (!isOld && left <= 0) break
    left -= page.length
    if (!isOld) forgotten.add(page.length)
  }
  if (next === first) return
  await services.store.change(run, ({ record: latest }) => {
    if (latest === undefined || latest.pages[0] !== first) return { result: undefined }
    return { record: { ...latest, pages: [next, latest.pages[1]] }, result: undefined }
  })
  for (let page = first; page < next; page++) await services.state().delete(pageKey(run, page))
}

/** Ended runs beyond `keepMs`; then, oldest first, those of tenants that are over their share of keys. */
async function forgetOld(
  options: SweepOptions,
  signal: AbortSignal,
  keys: Map<string, number>,
): Promise<void> {
  const { services, keepMs, maxKeys, forgotten } = options
  const today = dayOf(services.clock())
  const kept = Math.ceil(keepMs / DAY_MS)
  for (let day = today - kept - DAYS_BACK; day < today - kept; day++) {
    for (const entry of await listDay(services, day)) {
      if (signal.aborted) return
      await forget(services, entry)
    }
  }
  for (let day = today; day >= today - kept; day--) {
    for (const entry of (await listDay(services, day)).reverse()) {
      if (signal.aborted) return
      const run = runOf(entry)
      const before = keys.get(run.tenant) ?? 0
      const held = (decode(entry.value) as RunMark).keys ?? 0
      if (held > 0 && before + held > maxKeys) {
        forgotten.add(held)
        await forget(services, entry)
      } else keys.set(run.tenant, before + held)
    }
  }
}

function listDay({ state, receiver }: RunServices, day: number): Promise<StateEntry[]> {
  return state().list(stateKey('run-done', receiver, String(day)))
}

async function forget({ state, store, receiver }: RunServices, entry: StateEntry): Promise<void> {
  const run = runOf(entry)
  const record = await store.read(run)
  // A run of the same id that was begun anew is not the one that ended.
  if (record?.closed !== undefined) {
    for (let page = record.pages[0]; page < record.pages[1]; page++) await state().delete(pageKey(run, page))
    await state().delete(infoKey(run, record.made))
    await state().delete(recordKey(run))
  }
  if (record === undefined || record.closed !== undefined) await state().delete(openKey(receiver, run))
  await state().delete(entry.key)
}

function runOf({ value }: StateEntry): RunId {
  const { tenant, id } = decode(value) as RunMark
  return runIdOf(tenant, id)
}
