import type { Batch } from './batch/batch.ts'
import type { Batching, Processor } from './component.ts'
import type { StateStore } from './state/state.ts'
import type { CursorRecord } from './wal/cursor-record.ts'

/** Reading the WAL ahead of (or beside) the exporters' cursors: what `wal/follower.ts` drives. */

export interface FollowedBatch {
  readonly batch: Batch
  readonly seq: number
  /** When the log took the message, Unix ms. */
  readonly walMs: number
}

/** One term of driving the follower's cursor; it ends with the lease, and another begins. */
export interface FollowerTerm {
  /** As saved last. `position` is where the reading begins. */
  record(): CursorRecord
  /**
   * Moves the cursor and keeps `data` (JSON, some kilobytes) with it, by one compare-and-set. What is at or behind
   * `position` is read again after a crash, and stays in the log until then. Throws LEASE_LOST: the term is over.
   */
  save(change: { readonly position?: number; readonly data?: unknown }): Promise<void>
  readonly state: StateStore
  /** The least position of the cursors of its pipeline, of whichever daemon: what is before is read by none of them again. */
  passed(): Promise<number>
  /** Aborts with the term. */
  readonly signal: AbortSignal
}

/** Calls come one at a time. What is thrown ends the term: after a pause another one begins at the saved position. */
export interface LogWorker {
  /** Whatever an earlier term left in memory is void. */
  begin(term: FollowerTerm): Promise<void>
  /** Messages in order up to sequence `to`, taken by the log at `walMs`; without duplicates, and after the processors before. */
  take(batches: readonly FollowedBatch[], to: number, walMs: number): Promise<void>
  /** The log ends at `to`, and will stamp no later message with less than `walMs`. Called twice a second while nothing comes. */
  quiet(to: number, walMs: number): Promise<void>
}

/** A worker with its place. */
export interface Follower {
  /** `<pipeline>/<name>`: the name of its cursor. */
  readonly cursor: string
  readonly pipeline: string
  readonly name: string
  /** The cursors that wait for it: it starts where the last of them is. */
  readonly behind: readonly string[]
  /** The processors before it. */
  readonly process: Processor['process']
  readonly worker: LogWorker
}

/** The name of what a processor reads ahead by: the last part of its cursor. */
export function aheadOf(processorId: string): string {
  return `${processorId}@ahead`
}

/** Of one who reads behind what its pipeline has stored. */
export function afterOf(processorId: string): string {
  return `${processorId}@runs`
}

/** Whether a cursor is a follower's: its position waits on purpose, so that being behind is no fault. */
export function isFollower(cursor: string): boolean {
  return /@(?:ahead|runs)$/.test(cursor)
}

/** The log that a follower reads, as something to read again and to add to. */
export interface StoredLog {
  /** Id of the connector. */
  readonly connector: string
  /** Sequence of the newest message; 0 when there never was one. */
  head(): Promise<number>
  /** What messages hold, in the order of `seqs` (ascending), duplicates included. A message that was purged or is damaged is missing. */
  read(seqs: readonly number[], signal: AbortSignal): Promise<readonly StoredMessage[]>
  /** Whether a batch with this digest (`BatchMeta.digest`) was stored behind sequence `since`. */
  has(tenant: string, digest: Uint8Array, since: number, signal: AbortSignal): Promise<boolean>
  /** Resolves once the batch is durable; rejects with a Fault (retry) when the log cannot take it now. */
  append(batch: Batch, signal: AbortSignal): Promise<void>
  /** What there is. */
  span(): Promise<LogSpan>
  /** The first sequence from which on all messages came at that time (Unix ms) or later. */
  seqAt(timeMs: number, signal: AbortSignal): Promise<number>
  /**
   * Reads messages once more, as a cursor read them: in order, without the members that repeat earlier ones, and through
   * `process`. No cursor moves. Ends behind `to`, which the log has had.
   */
  scan(options: ScanOptions, signal: AbortSignal): AsyncIterable<ScannedRange>
}

export interface LogSpan {
  /** First and last sequence; `last` is kept when the log is empty, then `first` is the one after it. */
  readonly first: number
  readonly last: number
  /** When the first message came, Unix ms; undefined when there is none. */
  readonly oldestMs: number | undefined
}

export interface ScanOptions {
  readonly from: number
  readonly to: number
  /** The cursor whose retried dead letters are meant, too. */
  readonly cursor: string
  /** Size of the ranges. */
  readonly limits: Batching
  readonly process: Processor['process']
}

export interface ScannedRange {
  readonly from: number
  readonly to: number
  /** When the log took the last of them, Unix ms. */
  readonly lastMs: number
  readonly batches: readonly Batch[]
  /** In all members of the messages, those that repeat earlier ones included. */
  readonly spans: number
  readonly duplicates: number
  /** Spans that are no OTLP, or that a processor rejects: the cursor has made dead letters of them. */
  readonly refused: number
  /** Messages that cannot be read. */
  readonly damaged: number
}

export interface StoredMessage {
  readonly seq: number
  readonly batches: readonly Batch[]
}
