import type { Standing } from '../admission.ts'
import { reject } from '../fault.ts'
import { stateKey, type StateKey } from '../state/state.ts'
import type { RunId } from './ids.ts'
import type { OpenRequest } from './number.ts'
import type { Ranges } from './seqs.ts'
import type { Attributes } from '../../proto/otlp/write.ts'
import type { RunLabels } from './spans.ts'

/**
 * What state knows of runs, all JSON:
 *   run.<tenant>.<trace>               RunRecord: what every batch changes, by one compare-and-set
 *   run-info.<tenant>.<trace>.<made>   RunInfo: what the run was created with; written before the record, by each who tries
 *   run-keys.<tenant>.<trace>.<n>      idempotency keys that the record had no room for, KEYS_PER_PAGE each; written once
 *   run-open.<receiver>.<tenant>.<trace>  RunMark: until the root span is in the WAL
 *  run-done.<receiver>.<day>.<tenant>.<trace>  RunMark: ended on that day (since 1970), to be forgotten
 */
export const RECORD_VERSION = 1
export const KEYS_PER_PAGE = 64

export type RunStatus = 'running' | 'completed' | 'failed' | 'abandoned'

/** A batch that was numbered, by its idempotency key. */
export interface KeyEntry {
  /** First 128 bits of SHA-256 over the key, base64url. */
  readonly key: string
  /** The same over the body. */
  readonly body: string
  readonly first: number
  readonly last: number
  readonly accepted: number
  readonly duplicates: number
  readonly atMs: number
  /** Made up for a request without a key: nobody will ask for it once it is answered. */
  readonly once?: boolean
  /** Until it is known that the WAL has the batch. */
  readonly pending?: Pending
}

export interface Pending {
  /** `Lookback.position` before the batch was published; '' without a WAL. */
  readonly position: string
  /** With these the batch gets the same numbers and parents again. */
  readonly base: number
  readonly used: readonly OpenRequest[]
  readonly early?: readonly number[]
}

export interface RunRecord {
  readonly v: number
  readonly id: string
  /** The receiver that ends the run when nobody does. */
  readonly receiver: string
  /** First 128 bits of SHA-256 over the request that created the run, base64url; '' for a run that its first event created. */
  readonly made: string
  readonly project: string
  readonly principal: string
  readonly labels: RunLabels
  readonly status: RunStatus
  /** The first `traceparent` that a request of the run had. */
  readonly caller?: string | undefined
  readonly createdMs: number
  readonly touchedMs: number
  /** Over all events, Unix ms. */
  readonly fromMs?: number
  readonly toMs?: number
  readonly events: number
  readonly taken: Ranges
  readonly open: readonly OpenRequest[]
  readonly early: readonly number[]
  /** Oldest first. */
  readonly keys: readonly KeyEntry[]
  /** Pages `[first, end)` of older keys. */
  readonly pages: readonly [first: number, end: number]
  readonly closed?: Closed
}

export interface Closed {
  readonly atMs: number
  readonly position: string
  /** The root span is in the WAL. */
  readonly written: boolean
  readonly message?: string | undefined
}

/** Free attributes of the root span; written once. */
export interface RunInfo {
  readonly attributes: Attributes
}

/** Value of `run-open` and `run-done`. */
export interface RunMark {
  readonly tenant: string
  readonly id: string
  /** Idempotency keys that its record and pages hold; of ended runs. */
  readonly keys?: number
}

/** The record of a run that begins now: no event yet. */
export function newRecord(
  begun: Pick<RunRecord, 'id' | 'receiver' | 'made' | 'labels' | 'caller'>,
  sender: Standing,
  nowMs: number,
): RunRecord {
  return {
    v: RECORD_VERSION,
    ...begun,
    project: sender.project,
    principal: sender.principal,
    status: 'running',
    createdMs: nowMs,
    touchedMs: nowMs,
    events: 0,
    taken: [],
    open: [],
    early: [],
    keys: [],
    pages: [0, 0],
  }
}

export const recordKey = (run: RunId): StateKey => stateKey('run', run.tenant, run.trace)
export const infoKey = (run: RunId, made: string): StateKey =>
  stateKey('run-info', run.tenant, run.trace, made)
export const pageKey = (run: RunId, page: number): StateKey =>
  stateKey('run-keys', run.tenant, run.trace, String(page))
export const openKey = (receiver: string, run: RunId): StateKey =>
  stateKey('run-open', receiver, run.tenant, run.trace)
export const doneKey = (receiver: string, day: number, run: RunId): StateKey =>
  stateKey('run-done', receiver, String(day), run.tenant, run.trace)

export function encode(value: object): Buffer {
  return Buffer.from(JSON.stringify(value))
}

export function decode(bytes: Uint8Array): unknown {
  return JSON.parse(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString())
}

export function decodeRecord(bytes: Uint8Array): RunRecord {
  const record = decode(bytes) as RunRecord
  if (record.v <= RECORD_VERSION) return record
  throw reject(
    'STATE_VERSION',
    `a run's record has version ${record.v}, this weir knows ${RECORD_VERSION}: run the newer version`,
  )
}
