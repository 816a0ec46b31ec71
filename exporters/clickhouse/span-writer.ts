import type { Batch } from '../../pipeline/batch/batch.ts'
import { rawView } from '../../pipeline/batch/raw.ts'
import type { SpanBlock } from './block.ts'
import { MeaningWriter } from './meaning-writer.ts'

const DAY_MS = 86_400_000
const NO_LIMIT = 0xffff_ffff

/** Writes the spans of batches into the columns of a block: what their bytes say by the kernel, what they mean by `MeaningWriter`. */
export class SpanWriter {
  readonly #block: SpanBlock
  readonly #meaning: MeaningWriter
  #batch: Batch | undefined
  /** Row of the table that the kernel reads → row of the batch; undefined: the same. */
  #rows: Int32Array | undefined
  #tableRows = 0
  /** Rows of the batch that were added. */
  #added = new Int32Array(512)
  #count = 0

  constructor(block: SpanBlock) {
    this.#block = block
    this.#meaning = new MeaningWriter(block.meaning)
  }

  /** Of the spans in the block, by start; Unix ms. */
  get firstMs(): number {
    return this.#block.kernel.firstMs
  }

  get lastMs(): number {
    return this.#block.kernel.lastMs
  }

  /** Before a new filling of the block. */
  reset(): void {
    this.#block.clear()
    this.#batch = undefined
    this.#count = 0
  }

  /** The batch that rows are added of. Call it again after the block was cleared. */
  begin(batch: Batch): void {
    this.end()
    const raw = rawView(batch)
    this.#batch = batch
    this.#rows = raw.rows
    this.#tableRows = raw.table.rows
    if (this.#added.length < batch.rows) this.#added = new Int32Array(batch.rows)
    this.#block.kernel.open(raw, batch.meta.tenant, batch.meta.receivedAtMs + DAY_MS)
  }

  /** Completes the rows that were added: before the block is read. */
  end(): void {
    if (this.#batch !== undefined && this.#count > 0)
      this.#meaning.add(this.#batch, this.#added.subarray(0, this.#count))
    this.#count = 0
  }

  /** Adds one live row. */
  add(row: number): void {
    const at = this.#place(row)
    this.#take(at, at + 1, NO_LIMIT, NO_LIMIT)
  }

  /** Adds the live rows from `row` on until the block is full; the row behind the last of them. */
  addFrom(row: number, maxRows: number, maxBytes: number): number {
    return this.#take(this.#place(row), this.#tableRows, maxRows, maxBytes)
  }

  #take(from: number, end: number, maxRows: number, maxBytes: number): number {
    const stop = this.#block.kernel.add(from, end, maxRows, maxBytes)
    for (let at = from; at < stop; at++) this.#added[this.#count++] = this.#rowAt(at)
    return stop === from ? this.#rowAt(from) : this.#rowAt(stop - 1) + 1
  }

  #rowAt(place: number): number {
    return this.#rows === undefined ? place : (this.#rows[place] ?? place)
  }

  /** Of the first live row from `row` on, in the kernel's table. */
  #place(row: number): number {
    if (this.#rows === undefined) return row
    let low = 0
    let high = this.#rows.length
    while (low < high) {
      const middle = (low + high) >> 1
      if (this.#rows[middle]! < row) low = middle + 1
      else high = middle
    }
    return low
  }
}
