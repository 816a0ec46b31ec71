import type { Batch } from '../../pipeline/batch/batch.ts'
import type { SpanBlock } from './block.ts'
import type { SpanWriter } from './span-writer.ts'

/** A span's place in a delivery. */
export interface Place {
  readonly batch: number
  readonly row: number
}

/** One insert's share of a delivery: the live spans in [from, to). */
export interface Chunk {
  readonly from: Place
  readonly to: Place
  readonly rows: number
}

/** ClickHouse's own block is at most this large; see `max_insert_block_size` and the notes on memory. */
export const MAX_ROWS = 100_000
/**
 * Of transcoded bytes: a resource is repeated for each of its spans, so this is not bounded by the request's size. More
 * than the 64 MiB of OTLP that one delivery brings by default, which would else be cut into a large and a tiny insert.
 */
export const MAX_BYTES = 96 << 20

/**
 * Fills the block with live spans from `from` on, until it is full or the delivery ends. The cut depends only on the
 * frozen range and on deterministic processors, so a repeat makes the same chunks.
 */
export function fill(block: SpanBlock, writer: SpanWriter, batches: readonly Batch[], from: Place): Chunk {
  writer.reset()
  for (let index = from.batch; index < batches.length; index++) {
    const batch = batches[index] as Batch
    writer.begin(batch)
    const row = writer.addFrom(index === from.batch ? from.row : 0, MAX_ROWS, MAX_BYTES)
    if (!block.isFull) continue
    writer.end()
    return { from, to: { batch: index, row }, rows: block.rows }
  }
  writer.end()
  return { from, to: { batch: batches.length, row: 0 }, rows: block.rows }
}

/** Fills the block with those live spans of the chunk whose place (`placeOf`) is wanted. */
export function refill(
  block: SpanBlock,
  writer: SpanWriter,
  batches: readonly Batch[],
  chunk: Chunk,
  wanted: (place: string) => boolean,
): void {
  writer.reset()
  forEachRow(batches, chunk, (batch, row, fresh) => {
    if (fresh) writer.begin(batch)
    if (wanted(placeOf(batch, row))) writer.add(row)
  })
  writer.end()
}

/** Every live span of the chunk; `fresh` where a batch begins. */
export function forEachRow(
  batches: readonly Batch[],
  { from, to }: Chunk,
  visit: (batch: Batch, row: number, fresh: boolean) => void,
): void {
  for (let index = from.batch; index < batches.length && index <= to.batch; index++) {
    const batch = batches[index] as Batch
    const end = index === to.batch ? to.row : batch.rows
    let fresh = true
    for (let row = index === from.batch ? from.row : 0; row < end; row++) {
      if (!batch.isLive(row)) continue
      visit(batch, row, fresh)
      fresh = false
    }
  }
}

export function seqOf(batch: Batch): number {
  return batch.meta.wal?.seq ?? 0
}

export function walRowOf(batch: Batch, row: number): number {
  return (batch.meta.wal?.row ?? 0) + row
}

/** `seq:row`: a span's place in the WAL. */
export function placeOf(batch: Batch, row: number): string {
  return `${seqOf(batch)}:${walRowOf(batch, row)}`
}
