import { ATTR, type AttrRef, type Batch } from '../batch/batch.ts'
import { BY_KEY, NUMBERS } from './fields.ts'
import { type Source, sourceOf, typeOf } from './shape.ts'

/** Larger counts are not token counts: the column has 32 bits. */
export const MAX_COUNT = 0xffff_ffff

/**
 * The attributes of one span that mean something and have a value, read one by one: what a scan does for spans that it
 * tells apart (proto/otlp/signatures.ts), here for all others.
 */
export class Reading {
  /** `[0, count)`, in the order of the attributes. */
  sources: Int32Array = new Int32Array(64)
  /** Of each an int itself, of any other the attribute. */
  values: Int32Array = new Int32Array(64)
  count = 0

  read(batch: Batch, row: number): void {
    this.count = 0
    const range = batch.attrs(row, 'span')
    for (let ref = range.first as AttrRef; ref < range.end; ref++) {
      const entry = BY_KEY[batch.keyId(ref)] ?? -1
      if (entry < 0) continue
      const source = sourceOf(entry, batch.type(ref))
      if (entry >> 8 < NUMBERS) this.#number(source, ref, batch.number(ref))
      else if (batch.size(ref) > 2 || batch.text(ref) !== '') this.#take(source, ref)
    }
  }

  #number(source: Source, ref: AttrRef, value: number): void {
    if (value >= 0 && value <= MAX_COUNT) this.#take(source, typeOf(source) === ATTR.int ? value : ref)
  }

  #take(source: Source, value: number): void {
    const at = this.count++
    if (at === this.sources.length) {
      this.sources = widened(this.sources)
      this.values = widened(this.values)
    }
    this.sources[at] = source
    this.values[at] = value
  }
}

function widened(array: Int32Array): Int32Array {
  const wide = new Int32Array(array.length * 2)
  wide.set(array)
  return wide
}
