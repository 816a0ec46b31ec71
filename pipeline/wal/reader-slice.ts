import type { Batch } from '../batch/batch.ts'
import type { RowSpan } from './cursor-record.ts'
import { addLedger, dropsToLedger, EMPTY_LEDGER, subtractLedger, type Ledger } from './ledger.ts'
import type { PreparedBatch, PreparedRange } from './reader-prepare.ts'
import type { RejectedRows } from './reader-letters.ts'

/** One batch of a delivery: the prepared one itself, or a copy in which only the wanted rows are live. */
export interface SliceBatch {
  readonly prepared: PreparedBatch
  readonly batch: Batch
  readonly before: Ledger
}

/** What one delivery holds: the live rows within `span`. Row numbers are those of the whole batches. */
export interface Slice {
  readonly span: RowSpan
  readonly whole: boolean
  readonly batches: readonly SliceBatch[]
  readonly live: number
}

export function cut(range: PreparedRange, span: RowSpan): Slice {
  const whole = span[0] === 0 && span[1] === range.rows
  const batches: SliceBatch[] = []
  let live = 0
  for (const prepared of range.batches) {
    if (prepared.first >= span[1] || endOf(prepared) <= span[0]) continue
    const batch = whole ? prepared.batch : only(prepared, span)
    if (batch.live === 0) continue
    batches.push({ prepared, batch, before: dropsToLedger(batch.drops()) })
    live += batch.live
  }
  return { span, whole, batches, live }
}

export function endOf(prepared: PreparedBatch): number {
  return prepared.first + prepared.batch.rows
}

function only(prepared: PreparedBatch, [first, end]: RowSpan): Batch {
  const copy = prepared.batch.fork()
  for (let row = 0; row < copy.rows; row++) {
    const index = prepared.first + row
    if ((index < first || index >= end) && copy.isLive(row)) copy.drop(row, 'skipped')
  }
  return copy
}

/** The live rows of the slice by their index in the range, in order. */
export function liveRows({ batches, span: [first, end] }: Slice): number[] {
  const rows: number[] = []
  for (const { prepared, batch } of batches) {
    for (let row = 0; row < batch.rows; row++) {
      const index = prepared.first + row
      if (index >= first && index < end && batch.isLive(row)) rows.push(index)
    }
  }
  return rows
}

/** What became of the batches that the destination took. */
export function settle(batches: readonly SliceBatch[], rejected: readonly RejectedRows[]): Ledger {
  let ledger = EMPTY_LEDGER
  for (const { batch, before } of batches) {
    const dropped = subtractLedger(dropsToLedger(batch.drops()), before)
    ledger = addLedger(ledger, { ...dropped, stored: batch.live })
  }
  let dead = 0
  for (const { batch, rows, count } of rejected) {
    dead += Math.min(count, rows.filter((row) => isLiveIn(batches, batch, row)).length)
  }
  return addLedger(ledger, { stored: -dead, dead_lettered: dead })
}

function isLiveIn(batches: readonly SliceBatch[], prepared: PreparedBatch, row: number): boolean {
  return batches.find((one) => one.prepared === prepared)?.batch.isLive(row) ?? false
}
