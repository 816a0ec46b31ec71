/**
 * A scan can tell spans apart by attributes that mean something to somebody, so that what was worked out for one span holds
 * for all that are alike in them. Such keys are marked: per key id a number, its lowest two bits one of these, 0 for none.
 */
export type Marks = Uint32Array

export const MARK = {
  /** Counts where it is a number from 0 to 2^32 - 1. */
  number: 1,
  /** Its value is of few kinds and tells spans apart, up to 64 bytes of it. */
  word: 2,
  /** Only that it is there, and its type, tell spans apart. */
  other: 3,
} as const

/** One per span (`SpanTable.signatures`). */
export const SIGNATURE = {
  width: 2,
  /**
   * Equal for spans whose marked attributes are the same in order and type and whose words are the same. An empty value is
   * none. 0: not told apart, since a number is written as text, or there is too much to compare.
   */
  id: 0,
  /** Index into `SpanTable.marked`: one for each marked attribute that counts, an int's value or else the AttrRef. Void where the id is 0. */
  first: 1,
} as const

/** The highest id: tables have 31 bits for it. */
const LAST = 2 ** 31 - 1

/** Of an id: who remembers ids forgets all of them when a new half begins. A request has not as many spans as a half has ids. */
export function halfOf(id: number): number {
  return id >> 30
}

/** Gives ids in turn from 1 to the highest, and then again. */
export class SignatureIds {
  #last: number

  constructor(last = 0) {
    this.#last = last
  }

  get half(): number {
    return halfOf(this.#last)
  }

  next(): number {
    this.#last = this.#last === LAST ? 1 : this.#last + 1
    return this.#last
  }
}
