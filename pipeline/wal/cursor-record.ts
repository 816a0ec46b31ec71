import { createHash, randomBytes } from 'node:crypto'
import type { Claim } from '../component.ts'
import { reject } from '../fault.ts'
import { stateKey, type StateKey } from '../state/state.ts'
import { EMPTY_LEDGER, type Ledger } from './ledger.ts'

/** Format of the record; a newer one is refused at start. */
export const CURSOR_VERSION = 1

/** Rows of a frozen range, counted over its batches in WAL order: `[first, end)`. */
export type RowSpan = readonly [first: number, end: number]

/** The composition of the delivery under way, written before it is made. */
export interface FrozenRecord {
  readonly from: number
  readonly to: number
  readonly token: string
  /** Spans in the range, duplicates included. */
  readonly rows: number
  /** Tries so far that were interrupted or whose result is unknown. */
  readonly attempt: number
  /** Row spans still to be delivered, last first; absent: the whole range in one delivery. */
  readonly work?: readonly RowSpan[]
  /** What became of the row spans that are no longer in `work`. */
  readonly done?: Ledger
  readonly firstTryMs: number
  /** A range behind the position, delivered again because its destination lost it (`Rechecks`). */
  readonly again?: boolean
}

/** Neighbouring ranges that a destination took and may yet lose. */
export interface Segment extends Claim {
  /** When its first and its last range were booked. */
  readonly sinceMs: number
  readonly untilMs: number
}

export interface CursorRecord {
  readonly v: number
  readonly cursor: string
  /** Random, made with the record: a log that starts again at 1 must not reuse the tokens of the old one. */
  readonly epoch: string
  /** The next sequence to read: all before it is passed. */
  readonly position: number
  readonly frozen?: FrozenRecord | undefined
  /** Delivered, but to be asked about; oldest first. The log keeps them. */
  readonly unproven?: readonly Segment[] | undefined
  /**
   * Pages in state up to this number (`DedupePage`) have the members of every message up to `upTo`; what comes after,
   * the log keeps. Absent: nobody notes them.
   */
  readonly window?: { readonly page: number; readonly upTo: number } | undefined
  readonly ledger: Ledger
  /** WAL bytes passed: with `ledger.passed` the mean size of a span, for the lag. */
  readonly bytes: number
  /** What a follower keeps with its position. */
  readonly data?: unknown
  /** Fencing number of the lease under which the record was written. */
  readonly fence: number
  readonly createdMs: number
  readonly updatedMs: number
}

export function cursorPrefix(connector: string): StateKey {
  return stateKey('cursor', connector)
}

export function cursorKey(connector: string, cursor: string): StateKey {
  return stateKey('cursor', connector, cursor)
}

export function newCursor(cursor: string, position: number, nowMs: number): CursorRecord {
  return {
    v: CURSOR_VERSION,
    cursor,
    epoch: newEpoch(),
    position,
    ledger: EMPTY_LEDGER,
    bytes: 0,
    fence: 0,
    createdMs: nowMs,
    updatedMs: nowMs,
  }
}

export function newEpoch(): string {
  return randomBytes(8).toString('hex')
}

export function encodeCursor(record: CursorRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

export function decodeCursor(key: string, value: Uint8Array): CursorRecord {
  const record = JSON.parse(Buffer.from(value).toString()) as CursorRecord
  if (record.v !== CURSOR_VERSION) {
    throw reject(
      'STATE_VERSION',
      `cursor record ${key} has format ${record.v}; this weir reads up to ${CURSOR_VERSION}: run the newer version`,
    )
  }
  return record
}

/** Says what is inserted: equal tokens, equal rows. 32 hex characters. */
export function rangeToken(record: CursorRecord, from: number, to: number): string {
  return createHash('sha256')
    .update(JSON.stringify([CURSOR_VERSION, record.cursor, record.epoch, from, to]))
    .digest('hex')
    .slice(0, 32)
}
