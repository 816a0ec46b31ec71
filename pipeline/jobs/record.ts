import { reject, retry } from '../fault.ts'
import { stateKey, type StateKey, type StateStore } from '../state/state.ts'
import type { JobReport } from './job.ts'

/** What the state store keeps of a job: one record, and its last runs in slots that are written over. */

export const HISTORY = 100
export const MAX_QUEUE = 16
const MAX_CHECKPOINT_BYTES = 256 * 1024
/** What all bounds come to in one record stays below that of the state store. */
const MAX_PARAMS_BYTES = 8 * 1024
const MAX_REPORT_BYTES = 64 * 1024
const TRIES = 50

export interface JobRecord {
  readonly v: 1
  /** Number of the newest run. */
  readonly runs: number
  /** What `tickMs` is a tick of (`Timetable.text`). */
  readonly timing: string
  /** The newest tick that was run or passed over. */
  readonly tickMs: number
  /** Asked for, oldest first. */
  readonly queue: readonly Asked[]
  readonly running?: Running | undefined
  /** The newest that ended. It is history once it is here; its slot is written after that, or before the next one begins. */
  readonly last?: RunRecord
  readonly lastSuccessMs?: number
}

export interface Asked {
  readonly id: string
  readonly by: string
  readonly atMs: number
  readonly dryRun: boolean
  readonly params: unknown
}

export interface Running extends Asked {
  readonly startedAtMs: number
  /** Fencing number of the lease under which it runs: who finds another one has lost it. */
  readonly fence: number
  readonly holder: string
  /** How often it was begun or gone on with since the last checkpoint. */
  readonly tries: number
  readonly checkpoint?: unknown
  readonly progress?: Progress | undefined
  /** Who wants it ended. */
  readonly cancelledBy?: string
  /** Why it pauses. */
  readonly trouble?: string | undefined
}

export interface Progress {
  readonly done: number
  readonly total?: number | undefined
  readonly unit: string
}

export type Outcome = 'success' | 'failure' | 'timed_out' | 'cancelled'

/** A run that ended. */
export interface RunRecord extends Asked {
  readonly v: 1
  readonly startedAtMs: number
  readonly endedAtMs: number
  readonly outcome: Outcome
  readonly error?: string
  readonly report?: JobReport
  readonly holder: string
}

export const JOBS = stateKey('job')

export function recordKey(job: string): StateKey {
  return stateKey('job', job)
}

export function runPrefix(job: string): StateKey {
  return stateKey('job-run', job)
}

function runKey(job: string, id: string): StateKey {
  return stateKey('job-run', job, String(Number(id) % HISTORY))
}

export function emptyRecord(timing: string, nowMs: number): JobRecord {
  return { v: 1, runs: 0, timing, tickMs: nowMs, queue: [] }
}

export async function readRecord(state: StateStore, job: string): Promise<JobRecord | undefined> {
  const entry = await state.get(recordKey(job))
  return entry === undefined ? undefined : decodeRecord(entry.value, job)
}

/**
 * Writes what `change` makes of the record, by compare-and-set, again and again until nobody comes between. `change`
 * gets undefined where there is none, and returns undefined to leave all as it is; what it throws is passed on.
 */
export async function changeRecord(
  state: StateStore,
  job: string,
  change: (record: JobRecord | undefined) => JobRecord | undefined,
): Promise<JobRecord | undefined> {
  for (let tries = 0; tries < TRIES; tries++) {
    const entry = await state.get(recordKey(job))
    const before = entry === undefined ? undefined : decodeRecord(entry.value, job)
    const after = change(before)
    if (after === undefined) return before
    const value = encode(after)
    const revision =
      entry === undefined
        ? await state.create(recordKey(job), value)
        : await state.update(recordKey(job), value, entry.revision)
    if (revision !== undefined) return after
  }
  throw retry('STATE_UNAVAILABLE', `the record of job ${job} is written by others all the time`, 1000)
}

export async function writeRun(state: StateStore, job: string, run: RunRecord): Promise<void> {
  await state.put(runKey(job, run.id), encode(run))
}

/** Newest first. */
export async function listRuns(state: StateStore, job: string): Promise<RunRecord[]> {
  const entries = await state.list(runPrefix(job))
  const runs = entries.map(({ value }) => decodeRun(value, job))
  return runs.toSorted((a, b) => Number(b.id) - Number(a.id))
}

export async function readRun(state: StateStore, job: string, id: string): Promise<RunRecord | undefined> {
  const entry = await state.get(runKey(job, id))
  const run = entry === undefined ? undefined : decodeRun(entry.value, job)
  return run?.id === id ? run : undefined
}

/** Throws where a bound is passed: a record must fit into one message of the state store. */
export function checkParams(params: unknown): void {
  if (bytesOf(params) > MAX_PARAMS_BYTES)
    throw reject('REQUEST_INVALID', `params: as JSON they have over ${MAX_PARAMS_BYTES} bytes`)
}

export function checkCheckpoint(job: string, checkpoint: unknown): void {
  const bytes = bytesOf(checkpoint)
  if (bytes > MAX_CHECKPOINT_BYTES)
    throw reject(
      'STATE_UNAVAILABLE',
      `a checkpoint of job ${job} has ${bytes} bytes of JSON, over ${MAX_CHECKPOINT_BYTES}`,
    )
}

/** Details go first, then notes from the end. */
export function boundReport(report: JobReport): JobReport {
  if (bytesOf(report) <= MAX_REPORT_BYTES) return report
  const bare = { counts: report.counts, notes: [] as string[] }
  let left = MAX_REPORT_BYTES - bytesOf(bare) - 200
  for (const note of report.notes) {
    left -= bytesOf(note) + 1
    if (left < 0) break
    bare.notes.push(note)
  }
  const cut = report.notes.length - bare.notes.length
  return {
    ...bare,
    notes: [...bare.notes, `… the report was too long: ${cut} notes and all details are left out`],
  }
}

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value) ?? '')
}

export function encode(value: unknown): Uint8Array {
  return Buffer.from(JSON.stringify(value))
}

export function decodeRecord(value: Uint8Array, job: string): JobRecord {
  return decode(value, `job ${job}`) as JobRecord
}

function decodeRun(value: Uint8Array, job: string): RunRecord {
  return decode(value, `a run of job ${job}`) as RunRecord
}

function decode(value: Uint8Array, what: string): { readonly v: 1 } {
  try {
    const parsed = JSON.parse(Buffer.from(value).toString()) as { readonly v: 1 }
    if (parsed.v === 1) return parsed
  } catch {
    // Told below.
  }
  throw reject('STATE_VERSION', `the record of ${what} was written by another version of weir, or is damaged`)
}
