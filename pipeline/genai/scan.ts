import { ATTR, NONE, type AttrRef, type Batch } from '../batch/batch.ts'
import { BY_KEY, NUMBERS, SLOT, SLOTS, SOURCES, type Field } from './fields.ts'

/** Larger counts are not token counts: the column has 32 bits. */
export const MAX_COUNT = 0xffff_ffff

/**
 * One span's attributes, found in one pass: per field the best source seen. Reused for every span of a batch, so that
 * a span without such attributes costs one table lookup per attribute and allocates nothing. Fields are asked for by
 * their SLOT.
 */
export class Scan {
  #batch: Batch | undefined
  #dirty = false
  readonly #refs = new Int32Array(SLOTS).fill(NONE)
  readonly #ranks = new Uint8Array(SLOTS)
  readonly #numbers = new Float64Array(NUMBERS).fill(Number.NaN)
  /** A token count came as text. */
  textual = false

  /** False when the span has none of the attributes that mean something here. */
  read(batch: Batch, row: number): boolean {
    if (this.#dirty) this.#clear()
    this.#batch = batch
    const { first, end } = batch.attrs(row, 'span')
    for (let index = first; index < end; index++) {
      const ref = index as AttrRef
      const entry = BY_KEY[batch.keyId(ref)]
      if (entry !== undefined && entry >= 0) this.#offer(batch, ref, entry >> 8, entry & 0xff)
    }
    return this.#dirty
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

  /** The same for ids, which differ from run to run: they are not looked for among the values met before. */
  id(slot: number): string {
    const ref = (this.#refs[slot] ?? NONE) as AttrRef
    const batch = this.#batch
    if (ref === NONE || batch === undefined) return ''
    return batch.type(ref) === ATTR.string ? batch.string(ref) : batch.text(ref)
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
    if (this.#refs[slot] !== NONE && (this.#ranks[slot] ?? 0) <= rank) return
    if (slot < NUMBERS) {
      const value = batch.number(ref)
      if (!(value >= 0 && value <= MAX_COUNT)) return
      // Seconds keep their fraction; counts have none.
      this.#numbers[slot] = slot === SLOT.firstChunkSeconds ? value : Math.trunc(value)
      if (batch.type(ref) === ATTR.string) this.textual = true
    } else if (batch.size(ref) <= 2 && batch.text(ref) === '') {
      return
    }
    this.#refs[slot] = ref
    this.#ranks[slot] = rank
    this.#dirty = true
  }

  #clear(): void {
    this.#refs.fill(NONE)
    this.#numbers.fill(Number.NaN)
    this.#dirty = false
    this.textual = false
  }
}
