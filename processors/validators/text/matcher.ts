import type { Signal } from './signals.ts'
import type { Words } from './words.ts'

/** Words per block; a score is over two neighbouring ones, so that what stands far apart in a long text does not add up. */
const BLOCK = 100
const NEVER = -1_000_000

/** Finds signals in scanned words, block by block. Reused from text to text. */
export class Matcher {
  readonly signals: readonly Signal[]
  /** Per signal, all the concepts that it needs. */
  readonly needsLow: Int32Array
  readonly needsHigh: Int32Array
  /** Word number at which each signal got as far as each of its steps. */
  readonly #reached: readonly Int32Array[]
  /** How often each signal was met, in the block before and in this one. */
  #before: Uint16Array
  #now: Uint16Array
  readonly #window: Uint16Array

  constructor(signals: readonly Signal[]) {
    this.signals = signals
    this.needsLow = Int32Array.from(signals, ({ steps }) => steps.reduce((all, { mask }) => all | mask.low, 0))
    this.needsHigh = Int32Array.from(signals, ({ steps }) => steps.reduce((all, { mask }) => all | mask.high, 0))
    this.#reached = signals.map(({ steps }) => new Int32Array(steps.length))
    this.#before = new Uint16Array(signals.length)
    this.#now = new Uint16Array(signals.length)
    this.#window = new Uint16Array(signals.length)
  }

  /** Calls `window` with the count of each signal, for every two neighbouring blocks. The array is reused. */
  match(words: Words, window: (counts: Uint16Array) => void): void {
    const able = this.#able(words)
    for (const signal of able) this.#reached[signal]!.fill(NEVER)
    this.#before.fill(0)
    this.#now.fill(0)
    let end = BLOCK
    for (let index = 0; index < words.count; index++) {
      if (words.at[index]! >= end) {
        this.#flush(window)
        end = (Math.floor(words.at[index]! / BLOCK) + 1) * BLOCK
      }
      for (const signal of able) this.#advance(signal, words, index)
    }
    this.#flush(window)
  }

  /** Those that the words met can make up. */
  #able(words: Words): number[] {
    const able: number[] = []
    for (let i = 0; i < this.signals.length; i++) {
      const isAble =
        (words.seenLow & this.needsLow[i]!) === this.needsLow[i]! && (words.seenHigh & this.needsHigh[i]!) === this.needsHigh[i]!
      if (isAble) able.push(i)
    }
    return able
  }

  /** From the last step back, so that one word makes one step only. */
  #advance(signal: number, words: Words, index: number): void {
    const { steps } = this.signals[signal]!
    const reached = this.#reached[signal]!
    const low = words.low[index]!
    const high = words.high[index]!
    const at = words.at[index]!
    for (let i = steps.length - 1; i >= 0; i--) {
      const { mask, gap } = steps[i]!
      if ((low & mask.low) !== mask.low || (high & mask.high) !== mask.high) continue
      if (i > 0 && at - reached[i - 1]! > gap) continue
      reached[i] = at
      if (i === steps.length - 1) this.#now[signal]!++
    }
  }

  #flush(window: (counts: Uint16Array) => void): void {
    for (let i = 0; i < this.#window.length; i++) this.#window[i] = this.#before[i]! + this.#now[i]!
    window(this.#window)
    const spare = this.#before
    this.#before = this.#now
    this.#now = spare.fill(0)
  }
}
