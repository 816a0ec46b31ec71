const FIRST_CAPACITY = 1024
/** Words of a key: 128 bits. */
const WORDS = 4

/** Where in the table a key belongs: of the key at `words[at] … words[at + 3]`. */
export type KeyHash = (words: Uint32Array, at: number) => number

/** What belongs to a key stands in columns like this, at the key's place. */
type Column = Float64Array | Float32Array | Uint8Array

/** Bytes of a key with its two slots of the table. */
export const KEY_BYTES = 4 * WORDS + 8

/**
 * 128-bit keys as they came, numbered; the oldest leave first, and a key's newest number is found. A ring and an
 * open-addressed table: a Map of strings took five times the memory, and its garbage a tenth of the time (measured).
 *
 *     ring   words[4 i … 4 i + 3] = key      i = number modulo capacity, its place
 *     table  slots[h] = i + 1, 0: free       h = hash of the key, then linear probing
 */
export class KeyRing {
  readonly #hash: KeyHash
  #words = new Uint32Array(WORDS * FIRST_CAPACITY)
  #slots = new Int32Array(2 * FIRST_CAPACITY)
  #capacity = FIRST_CAPACITY
  #first: number
  #end: number

  constructor(hash: KeyHash, first = 0) {
    this.#hash = hash
    this.#first = first
    this.#end = first
  }

  /** Number of the next key. */
  get end(): number {
    return this.#end
  }

  get size(): number {
    return this.#end - this.#first
  }

  /** Length of a column. It changes with `add`: see `fit`. */
  get capacity(): number {
    return this.#capacity
  }

  /** Place of the oldest key. */
  get oldest(): number {
    return this.#first % this.#capacity
  }

  /** The key's place, which its columns are written at after `fit`. */
  add(key: Uint32Array): number {
    if (this.size === this.#capacity) this.#grow()
    const place = this.#end++ % this.#capacity
    this.#words.set(key, WORDS * place)
    this.#slots[this.#find(key, 0)] = place + 1
    return place
  }

  /** The newest place of the key; undefined: it is not there. */
  newest(key: Uint32Array): number | undefined {
    const known = this.#slots[this.#find(key, 0)]!
    return known === 0 ? undefined : known - 1
  }

  /** The number of the key that a place has now. */
  numberAt(place: number): number {
    const last = this.#end - 1
    const back = (last - place) % this.#capacity
    return last - (back < 0 ? back + this.#capacity : back)
  }

  placeOf(number: number): number {
    return number % this.#capacity
  }

  /** Writes the four words of a place to `out[at] … out[at + 3]`. */
  copyKey(place: number, out: Uint32Array, at: number): void {
    for (let word = 0; word < WORDS; word++) out[at + word] = this.#words[WORDS * place + word]!
  }

  /** A column, moved when the ring has grown: call it for each after `add`. */
  fit<C extends Column>(column: C): C {
    const { length } = column
    if (length === this.#capacity) return column
    const wider = new (column.constructor as new (length: number) => C)(this.#capacity)
    for (let number = this.#first; number < this.#end; number++) {
      wider[number % this.#capacity] = column[number % length]!
    }
    return wider
  }

  forgetOldest(): void {
    const place = this.oldest
    const slot = this.#find(this.#words, WORDS * place)
    // A key that came again is found by its newer number, which stays.
    if (this.#slots[slot] === place + 1) this.#free(slot)
    this.#first++
  }

  /** The slot of the key at `words[at]`, or the free one where it belongs. */
  #find(words: Uint32Array, at: number): number {
    const mask = this.#slots.length - 1
    const mine = this.#words
    let slot = this.#hash(words, at) & mask
    for (let known = this.#slots[slot]!; known !== 0; known = this.#slots[slot]!) {
      const other = WORDS * (known - 1)
      if (
        mine[other] === words[at] &&
        mine[other + 1] === words[at + 1] &&
        mine[other + 2] === words[at + 2] &&
        mine[other + 3] === words[at + 3]
      ) {
        return slot
      }
      slot = (slot + 1) & mask
    }
    return slot
  }

  /** Empties a slot; those behind it that probed over it move up. */
  #free(slot: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = slot
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const home = this.#hash(this.#words, WORDS * (slots[next]! - 1)) & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      slots[hole] = slots[next]!
      hole = next
    }
    slots[hole] = 0
  }

  #grow(): void {
    const before = this.#capacity
    const words = new Uint32Array(WORDS * 2 * before)
    for (let number = this.#first; number < this.#end; number++) {
      const from = WORDS * (number % before)
      words.set(this.#words.subarray(from, from + WORDS), WORDS * (number % (2 * before)))
    }
    this.#capacity = 2 * before
    this.#words = words
    this.#slots = new Int32Array(2 * this.#capacity)
    for (let number = this.#first; number < this.#end; number++) {
      const place = number % this.#capacity
      this.#slots[this.#find(words, WORDS * place)] = place + 1
    }
  }
}
