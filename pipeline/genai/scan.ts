import { ATTR_AT, SPAN, type SpanTable } from '../../proto/otlp/table.ts'
import { intAt } from '../../proto/wire.ts'
import { ATTR, NONE, type AttrRef, type Batch } from '../batch/batch.ts'
import type { IdColumn } from '../batch/fact-columns.ts'
import { asReceived } from '../batch/raw.ts'
import { BY_KEY, NUMBERS, SLOT, SOURCES, type Field } from './fields.ts'
import { rankOf, Shape, shapeOf, sourceOf } from './shape.ts'

/** Larger counts are not token counts: the column has 32 bits. */
export const MAX_COUNT = 0xffff_ffff

/**
 * One span's attributes that mean something, found in one pass: per field the best source seen. Reused for every span of
 * a batch, so that a span without such attributes costs one table lookup per attribute and allocates nothing. Fields are
 * asked for by their SLOT.
 */
export class Scan {
  #batch: Batch | undefined
  /** Of a batch that nobody edited; undefined: only the batch knows. */
  #attrs: Int32Array | undefined
  #bytes: Buffer | undefined
  /* Of the values that count, in the order of the attributes: where they are, where from, and the number they are. */
  #refs = new Int32Array(64)
  #sources = new Int32Array(64)
  #numbers = new Float64Array(64)
  #count = 0
  /** Of the span that was read last. */
  shape: Shape = NO_SHAPE

  /** False when the span has none of the attributes that mean something here. */
  read(batch: Batch, row: number): boolean {
    const plain = asReceived(batch)
    this.#batch = batch
    this.#attrs = plain?.table.attrs
    this.#bytes = plain?.bytes
    this.#count = 0
    if (plain === undefined) this.#readEdited(batch, row)
    else this.#readPlain(batch, plain.bytes, plain.table, row)
    if (!this.shape.is(this.#sources, this.#count)) this.shape = shapeOf(this.#sources, this.#count)
    return this.#count > 0
  }

  #readPlain(batch: Batch, bytes: Buffer, { spans, attrs }: SpanTable, row: number): void {
    const end = spans[row * SPAN.width + SPAN.endAttr]!
    for (let ref = spans[row * SPAN.width + SPAN.firstAttr]!; ref < end; ref++) {
      const at = ref * ATTR_AT.width
      const key = attrs[at]!
      if (key <= 0 || key >= BY_KEY.length) continue
      const entry = BY_KEY[key]!
      if (entry < 0) continue
      const type = attrs[at + ATTR_AT.type]!
      if (entry >> 8 >= NUMBERS) {
        if (attrs[at + ATTR_AT.len]! > 2 || batch.text(ref as AttrRef) !== '') this.#take(ref, entry, type, 0)
      } else if (type === ATTR.int) this.#takeNumber(ref, entry, type, intAt(bytes, attrs[at + ATTR_AT.off]!))
      else this.#takeNumber(ref, entry, type, batch.number(ref as AttrRef))
    }
  }

  #readEdited(batch: Batch, row: number): void {
    const range = batch.attrs(row, 'span')
    for (let ref = range.first as AttrRef; ref < range.end; ref++) {
      const entry = BY_KEY[batch.keyId(ref)] ?? -1
      if (entry < 0) continue
      if (entry >> 8 < NUMBERS) this.#takeNumber(ref, entry, batch.type(ref), batch.number(ref))
      else if (batch.size(ref) > 2 || batch.text(ref) !== '') this.#take(ref, entry, batch.type(ref), 0)
    }
  }

  #takeNumber(ref: number, entry: number, type: number, value: number): void {
    if (!(value >= 0 && value <= MAX_COUNT)) return
    // Seconds keep their fraction; counts have none.
    this.#take(ref, entry, type, entry >> 8 === SLOT.firstChunkSeconds ? value : Math.trunc(value))
  }

  #take(ref: number, entry: number, type: number, value: number): void {
    const at = this.#count++
    if (at === this.#refs.length) this.#grow()
    this.#refs[at] = ref
    this.#sources[at] = sourceOf(entry, type)
    this.#numbers[at] = value
  }

  #grow(): void {
    const larger = this.#refs.length * 2
    const [refs, sources, numbers] = [this.#refs, this.#sources, this.#numbers]
    this.#refs = new Int32Array(larger)
    this.#sources = new Int32Array(larger)
    this.#numbers = new Float64Array(larger)
    this.#refs.set(refs)
    this.#sources.set(sources)
    this.#numbers.set(numbers)
  }

  has(slot: number): boolean {
    return this.shape.places[slot]! >= 0
  }

  /** The attribute that the field came from; '' when absent. */
  source(field: Field): string {
    const place = this.shape.places[SLOT[field]]!
    return place < 0 ? '' : (SOURCES[field][rankOf(this.shape.sources[place]!)] ?? '')
  }

  #ref(slot: number): AttrRef {
    const place = this.shape.places[slot]!
    return place < 0 ? NONE : (this.#refs[place] as AttrRef)
  }

  /** '' when absent. For values of few kinds; long ones are welcome, too. */
  text(slot: number): string {
    const ref = this.#ref(slot)
    const batch = this.#batch
    if (ref === NONE || batch === undefined) return ''
    return batch.type(ref) === ATTR.string ? batch.word(ref) : batch.text(ref)
  }

  /** The same for ids, which differ from run to run: into their column, which is over the batch's own bytes. */
  putId(slot: number, ids: IdColumn, row: number): void {
    const ref = this.#ref(slot)
    if (ref !== NONE) this.putText(ref, ids, row)
  }

  putText(ref: AttrRef, ids: IdColumn, row: number): void {
    const attrs = this.#attrs
    const at = ref * ATTR_AT.width
    if (attrs === undefined || attrs[at + ATTR_AT.type] !== ATTR.string)
      ids.set(row, this.#batch?.text(ref) ?? '')
    else ids.place(row, attrs[at + ATTR_AT.off]!, attrs[at + ATTR_AT.len]!)
  }

  /** NaN when absent. */
  number(slot: number): number {
    const place = this.shape.places[slot]!
    return place < 0 ? Number.NaN : this.#numbers[place]!
  }

  /** 0 when absent. */
  count(slot: number): number {
    const place = this.shape.places[slot]!
    return place < 0 ? 0 : this.#numbers[place]!
  }

  /**
   * Where the bytes of the values lie that decide what the span is: puts offset and length of each into `to`, and answers
   * in which bytes. Undefined where they are not to be had as they came.
   */
  words(to: Int32Array): Buffer | undefined {
    const attrs = this.#attrs
    if (attrs === undefined) return undefined
    const { words } = this.shape
    for (let i = 0; i < words.length; i++) {
      const at = this.#refs[words[i]!]! * ATTR_AT.width
      to[2 * i] = attrs[at + ATTR_AT.off]!
      to[2 * i + 1] = attrs[at + ATTR_AT.len]!
    }
    return this.#bytes
  }
}

/** Of spans that have nothing that counts. */
const NO_SHAPE = new Shape(new Int32Array(0))
