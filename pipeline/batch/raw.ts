import type { SpanTable } from '../../proto/otlp/table.ts'
import type { Batch } from './batch.ts'
import { decodeBatch, OtlpBatch } from './otlp-batch.ts'

/**
 * For codecs that copy bytes column by column (proto/clickhouse): the live spans with all edits applied, as wire bytes
 * and the offset table over them (layout: proto/otlp/table.ts; keys: pipeline/batch/keys.ts). Read only.
 * Without edits and drops these are the batch's own bytes and table, at no cost; otherwise the batch is encoded and
 * scanned once, here.
 */
export interface RawView {
  readonly bytes: Buffer
  readonly table: SpanTable
  /** The batch's row of each row of the table; undefined when they are the same. */
  readonly rows: Int32Array | undefined
}

export function rawView(batch: Batch): RawView {
  const own = batch instanceof OtlpBatch ? batch : undefined
  const settled = own === undefined ? (decodeBatch(batch.encode(), batch.meta) as OtlpBatch) : own.settle()
  return { bytes: settled.bytes, table: settled.table, rows: liveRows(batch) }
}

/** Bytes and table of a batch that nobody edited (rows may be dropped); undefined: ask the batch. */
export function asReceived(batch: Batch): { readonly bytes: Buffer; readonly table: SpanTable } | undefined {
  return batch instanceof OtlpBatch && batch.overlay?.isEdited !== true ? batch : undefined
}

function liveRows(batch: Batch): Int32Array | undefined {
  if (batch.live === batch.rows) return undefined
  const rows = new Int32Array(batch.live)
  let next = 0
  for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) rows[next++] = row
  return rows
}
