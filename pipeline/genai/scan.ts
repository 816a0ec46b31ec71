import { ATTR_AT, SPAN } from '../../proto/otlp/table.ts'
import { Repeated } from '../../proto/repeated.ts'
import { intAt } from '../../proto/wire.ts'
import { ATTR, NONE, type AttrRef, type Batch } from '../batch/batch.ts'
import type { IdColumn } from '../batch/fact-columns.ts'
import { asReceived } from '../batch/raw.ts'
import { BY_KEY, IS_WORD, KEYS, NUMBERS, SLOT, SLOTS, SOURCES, type Field } from './fields.ts'

/** Larger counts are not token counts: the column has 32 bits. */
export const MAX_COUNT = 0xffff_ffff

/** What words are told apart by. */
const VALUES = new Repeated()

/**
 * One span's attributes, found in one pass: per field the best source seen. Reused for every span of a batch, so that
 * a span without such attributes costs one table lookup per attribute and allocates nothing. Fields are asked for by
 * their SLOT.
 */
export class Scan {
  #batch: Batch | undefined
  /** Of a batch that nobody edited; undefined: only the batch knows. */
  #attrs: Int32Array | undefined
  #bytes: Buffer | undefined
  readonly #refs = new Int32Array(SLOTS).fill(NONE)
  readonly #ranks = new Uint8Array(SLOTS)
  readonly #numbers = new Float64Array(NUMBERS).fill(Number.NaN)
  /** Slots that have something. */
  readonly #met = new Uint8Array(SLOTS)
  #count = 0
  /** A token count came as text. */
  textual = false
  /**
   * `signature[0, signed)`: which sources came in which order, and the words' values: all that `wordsOf` depends on.
   * 0 when a value is too long to be told apart quickly.
   */
  readonly signature = new Float64Array(2 * KEYS)
  signed = 0
  hash = 0
  #isSigned = true

  /** False when the span has none of the attributes that mean something here. */
  read(batch: Batch, row: number): boolean {
    this.#clear()
    const plain = asReceived(batch)
    const table = plain?.table
    this.#batch = batch
    this.#attrs = table?.attrs
    this.#bytes = plain?.bytes
    if (table === undefined) this.#readEdited(batch, row)
    else {
      const { spans, attrs } = table
      const end = spans[row * SPAN.width + SPAN.endAttr]!
      for (let ref = spans[row * SPAN.width + SPAN.firstAttr]!; ref < end; ref++) {
        const key = attrs[ref * ATTR_AT.width]!
        if (key <= 0 || key >= BY_KEY.length) continue
        const entry = BY_KEY[key]!
        if (entry >= 0) this.#offer(batch, ref as AttrRef, entry >> 8, entry & 0xff)
      }
    }
    if (!this.#isSigned) this.signed = 0
    return this.#count > 0
  }

  #readEdited(batch: Batch, row: number): void {
    const { first, end } = batch.attrs(row, 'span')
    for (let ref = first; ref < end; ref++) {
      const entry = BY_KEY[batch.keyId(ref as AttrRef)]
      if (entry !== undefined && entry >= 0) this.#offer(batch, ref as AttrRef, entry >> 8, entry & 0xff)
    }
  }

  has(slot: number): boolean {
    return this.#refs[slot] !== NONE
  }

  /** The attribute that the field came from; '' when absent. */
  source(field: Field): string {
    const slot = SLOT[field]
    return this.has(slot) ? (SOURCES[field][this.#ranks[slot] ?? 0] ?? '') : ''
  }

  /** '' when absent. For values of few kinds; long ones are welcome, too. */
  text(slot: number): string {
    const ref = (this.#refs[slot] ?? NONE) as AttrRef
    const batch = this.#batch
    if (ref === NONE || batch === undefined) return ''
    return batch.type(ref) === ATTR.string ? batch.word(ref) : batch.text(ref)
  }

  /** The same for ids, which differ from run to run: into their column, which is over the batch's own bytes. */
  putId(slot: number, ids: IdColumn, row: number): void {
    const ref = (this.#refs[slot] ?? NONE) as AttrRef
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
    return this.#numbers[slot] ?? Number.NaN
  }

  /** 0 when absent. */
  count(slot: number): number {
    const value = this.number(slot)
    return value > 0 ? value : 0
  }

  #offer(batch: Batch, ref: AttrRef, slot: number, rank: number): void {
    const known = this.#refs[slot] !== NONE
    if (known && this.#ranks[slot]! <= rank) return
    const attrs = this.#attrs
    const at = ref * ATTR_AT.width
    if (slot < NUMBERS) {
      const isInt = attrs !== undefined && attrs[at + ATTR_AT.type] === ATTR.int
      const value = isInt ? intAt(this.#bytes!, attrs[at + ATTR_AT.off]!) : batch.number(ref)
      if (!(value >= 0 && value <= MAX_COUNT)) return
      // Seconds keep their fraction; counts have none.
      this.#numbers[slot] = slot === SLOT.firstChunkSeconds ? value : Math.trunc(value)
      if (!isInt && batch.type(ref) === ATTR.string) this.textual = true
    } else {
      const size = attrs === undefined ? batch.size(ref) : attrs[at + ATTR_AT.len]!
      if (size <= 2 && batch.text(ref) === '') return
    }
    this.#refs[slot] = ref
    this.#ranks[slot] = rank
    if (!known) this.#met[this.#count++] = slot
    const type = attrs === undefined ? 0 : attrs[at + ATTR_AT.type]!
    this.#sign((type << 16) | (slot << 8) | rank, IS_WORD[slot] === 1 ? this.#serial(at) : 0)
  }

  #serial(at: number): number {
    const attrs = this.#attrs
    const serial =
      attrs === undefined
        ? 0
        : VALUES.serial(this.#bytes!, attrs[at + ATTR_AT.off]!, attrs[at + ATTR_AT.len]!)
    if (serial === 0) this.#isSigned = false
    return serial
  }

  #sign(source: number, value: number): void {
    this.signature[this.signed] = source
    this.signature[this.signed + 1] = value
    this.signed += 2
    const mixed = Math.imul(this.hash ^ source, 0x85ebca6b) ^ (value | 0)
    this.hash = Math.imul(mixed, 0xc2b2ae35) ^ (this.hash >>> 15)
  }

  #clear(): void {
    for (let i = 0; i < this.#count; i++) {
      const slot = this.#met[i]!
      this.#refs[slot] = NONE
      if (slot < NUMBERS) this.#numbers[slot] = Number.NaN
    }
    this.#count = 0
    this.signed = 0
    this.hash = 0
    this.#isSigned = true
    this.textual = false
  }
}
