import { hasAll, type Lexicon } from './lexicon.ts'
import type { Signal } from './signals.ts'
import type { Words } from './words.ts'

/** Words per block; a score is over two neighbouring ones, so that what stands far apart in a long text does not add up. */
const BLOCK = 60
/** Farther than any gap: parts the words of one text from those of the next. */
const APART = 1_000
const TURN = 1_000_000_000
const FIRST_CAPACITY = 256

/**
 * Finds signals in scanned words, block by block. Reused from text to text; a word costs a look at the steps that its
 * kind can make, which are laid out in advance:
 *
 *   first[kind] ─► moves: [step, signal], … in a signal from its last step to its first, so that one word makes one step only
 */
export class Matcher {
  readonly signals: readonly Signal[]
  readonly #first: Int32Array
  readonly #moves: Int32Array
  /** Per step of all signals: the gap to the step before (-1 for a first one), whether it is the last, where it was made. */
  readonly #gaps: Int32Array
  readonly #isLast: Uint8Array
  readonly #reached: Int32Array
  /** What was met, in order: which signal, and in which block of words. */
  hits = new Int16Array(FIRST_CAPACITY)
  blocks = new Int32Array(FIRST_CAPACITY)
  count = 0
  /** What word numbers begin at, ever growing: nothing need be wiped between texts. */
  #epoch = APART

  constructor(signals: readonly Signal[], { kinds }: Lexicon) {
    this.signals = signals
    const steps = signals.flatMap(({ steps: own }, signal) =>
      own.map(({ mask, gap }, i) => ({
        signal,
        mask,
        gap: i === 0 ? -1 : gap,
        isLast: i === own.length - 1,
      })),
    )
    this.#gaps = Int32Array.from(steps, ({ gap }) => gap)
    this.#isLast = Uint8Array.from(steps, ({ isLast }) => Number(isLast))
    this.#reached = new Int32Array(steps.length)
    const moves = kinds.map((kind) =>
      steps.flatMap(({ signal, mask }, step) => (hasAll(kind, mask) ? [[step, signal]] : [])).reverse(),
    )
    this.#moves = Int32Array.from(moves.flat(2))
    this.#first = new Int32Array(kinds.length + 1)
    moves.forEach((own, kind) => (this.#first[kind + 1] = this.#first[kind]! + own.length * 2))
  }

  /** Finds all signals; then `hits`, `blocks` and `eachWindow` tell of them. */
  match(words: Words): void {
    this.count = 0
    if (this.#epoch > TURN) this.#reached.fill((this.#epoch = APART) - APART)
    const { at, kind, count } = words
    for (let index = 0; index < count; index++) this.#move(kind[index]!, at[index]!)
    this.#epoch += APART + (count === 0 ? 0 : at[count - 1]!)
  }

  /** The hits of every two neighbouring blocks, as a range: each hit is in two at most. */
  eachWindow(each: (from: number, end: number) => void): void {
    for (let from = 0; from < this.count;) {
      const block = this.blocks[from]!
      let end = from
      let next = from
      for (; end < this.count && this.blocks[end]! <= block + 1; end++)
        if (this.blocks[end] === block) next = end + 1
      each(from, end)
      from = next
    }
  }

  #move(kind: number, number: number): void {
    const moves = this.#moves
    const reached = this.#reached
    const at = this.#epoch + number
    const end = this.#first[kind + 1]!
    for (let i = this.#first[kind]!; i < end; i += 2) {
      const step = moves[i]!
      const gap = this.#gaps[step]!
      if (gap >= 0 && at - reached[step - 1]! > gap) continue
      reached[step] = at
      if (this.#isLast[step] === 1) this.#hit(moves[i + 1]!, number)
    }
  }

  #hit(signal: number, number: number): void {
    if (this.count === this.hits.length) {
      const { hits, blocks } = this
      this.hits = new Int16Array(hits.length * 2)
      this.hits.set(hits)
      this.blocks = new Int32Array(blocks.length * 2)
      this.blocks.set(blocks)
    }
    this.hits[this.count] = signal
    this.blocks[this.count++] = Math.floor(number / BLOCK)
  }
}
