import { SIGNATURE } from '../../proto/otlp/signatures.ts'
import { ATTR_AT } from '../../proto/otlp/table.ts'
import { ATTR, NONE, type AttrRef, type Batch } from '../batch/batch.ts'
import type { IdColumn } from '../batch/fact-columns.ts'
import { asReceived } from '../batch/raw.ts'
import { type Alike, alikeOf, remember, signatureOf } from './alike.ts'
import { SLOT, SOURCES, type Field } from './fields.ts'
import { Reading } from './reading.ts'
import { rankOf, Shape, shapeOf, typeOf } from './shape.ts'

const NO_VALUES = new Int32Array(0)
/** Of spans that have nothing that counts. */
const NO_SHAPE = new Shape(new Int32Array(0))

/**
 * One span's attributes that mean something: per field the best source. Reused for every span of a batch. Fields are asked
 * for by their SLOT. Spans that the scan of their request has told apart (alike.ts) cost a look at their signature; others
 * are read attribute by attribute.
 */
export class Scan {
  #batch: Batch | undefined
  /** Of a batch that nobody edited; undefined: only the batch knows. */
  #attrs: Int32Array | undefined
  /** From `#first` on, of each source in turn: an int itself, of any other the attribute. */
  #values: Int32Array = NO_VALUES
  #first = 0
  /** Of the span that was read last. */
  shape: Shape = NO_SHAPE
  /** What is known of all spans like it; undefined: nobody knows which are. */
  alike: Alike | undefined
  readonly #reading = new Reading()

  /** False when the span has none of the attributes that mean something here. */
  read(batch: Batch, row: number): boolean {
    const plain = asReceived(batch)
    this.#batch = batch
    this.#attrs = plain?.table.attrs
    const signature = plain === undefined ? 0 : signatureOf(plain.table, row)
    this.alike = signature === 0 ? undefined : alikeOf(signature)
    if (this.alike === undefined || plain === undefined) {
      this.#readThrough(batch, row)
      if (signature !== 0) this.alike = remember(signature, this.shape)
    } else {
      this.shape = this.alike.shape
      this.#values = plain.table.marked
      this.#first = plain.table.signatures[row * SIGNATURE.width + SIGNATURE.first]!
    }
    return this.shape.sources.length > 0
  }

  #readThrough(batch: Batch, row: number): void {
    const reading = this.#reading
    reading.read(batch, row)
    if (!this.shape.is(reading.sources, reading.count)) this.shape = shapeOf(reading.sources, reading.count)
    this.#values = reading.values
    this.#first = 0
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
    return place < 0 ? NONE : (this.#values[this.#first + place] as AttrRef)
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
    if (place < 0) return Number.NaN
    const value = this.#values[this.#first + place]!
    if (typeOf(this.shape.sources[place]!) === ATTR.int) return value >>> 0
    const number = this.#batch?.number(value as AttrRef) ?? Number.NaN
    // Seconds keep their fraction; counts have none.
    return slot === SLOT.firstChunkSeconds ? number : Math.trunc(number)
  }

  /** 0 when absent. */
  count(slot: number): number {
    return this.has(slot) ? this.number(slot) : 0
  }
}
