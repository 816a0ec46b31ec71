import { randomInt } from 'node:crypto'
import type { Decision } from './decision.ts'

/** Key (16), weight (8), share (4), flag (1), two slots of the table (8), rounded up. */
const ENTRY_BYTES = 40
const FIRST_CAPACITY = 1024

/** Decisions that fit. */
export function decisionsIn(bytes: number): number {
  return Math.floor(bytes / ENTRY_BYTES)
}

/**
 * The newest decisions by trace, numbered as they fell. A ring, oldest first, and an open-addressed table that finds a
 * key's newest one: a Map would take five times the memory.
 *
 *     ring   words[4 i …] = key, weights[i], shares[i], flags[i]    i = number modulo capacity
 *     table  slots[h] = i + 1, 0: free                              h = hash of the key, then linear probing
 */
export class DecisionTable {
  readonly #most: number
  #words = new Uint32Array(4 * FIRST_CAPACITY)
  #weights = new Float64Array(FIRST_CAPACITY)
  #shares = new Float32Array(FIRST_CAPACITY)
  #flags = new Uint8Array(FIRST_CAPACITY)
  #slots = new Int32Array(2 * FIRST_CAPACITY)
  #first: number
  #end: number
  readonly #key = new Uint32Array(4)
  readonly #seed = randomInt(2 ** 32)

  /** Holds up to `most` decisions, of which the first is numbered `first`. */
  constructor(most: number, first = 0) {
    this.#most = most
    this.#first = first
    this.#end = first
  }

  /** Number of the next decision. */
  get end(): number {
    return this.#end
  }

  add(key: string, { weight, share, isConsistent }: Decision): void {
    this.#setKey(key)
    if (this.#end - this.#first >= this.#most) this.#forgetOldest()
    if (this.#end - this.#first === this.#weights.length) this.#grow()
    const at = this.#end++ % this.#weights.length
    this.#words.set(this.#key, 4 * at)
    this.#weights[at] = weight
    this.#shares[at] = share
    this.#flags[at] = Number(isConsistent)
    this.#slots[this.#find(this.#key, 0)] = at + 1
  }

  /** The newest decision of the trace with a number of at least `from`. */
  get(key: string, from = 0): Decision | undefined {
    this.#setKey(key)
    const known = this.#slots[this.#find(this.#key, 0)]!
    if (known === 0) return undefined
    const at = known - 1
    if (this.#numberOf(at) < from) return undefined
    return { weight: this.#weights[at]!, share: this.#shares[at]!, isConsistent: this.#flags[at] === 1 }
  }

  /** What a place of the ring holds now. */
  #numberOf(at: number): number {
    const capacity = this.#weights.length
    const last = this.#end - 1
    return last - ((((last - at) % capacity) + capacity) % capacity)
  }

  #setKey(key: string): void {
    for (let word = 0; word < 4; word++) {
      this.#key[word] = key.charCodeAt(2 * word) | (key.charCodeAt(2 * word + 1) << 16)
    }
  }

  /** Senders choose trace ids: a seed of this table's own keeps them from choosing ones that fall together. */
  #hash(words: Uint32Array, at: number): number {
    let hash = this.#seed
    for (let word = at; word < at + 4; word++) {
      hash = Math.imul(hash ^ words[word]!, 0x9e3779b1)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return hash ^ (hash >>> 13)
  }

  /** The slot of the key at `words[at]`, or the free one where it belongs. */
  #find(words: Uint32Array, at: number): number {
    const mask = this.#slots.length - 1
    const mine = this.#words
    let slot = this.#hash(words, at) & mask
    for (let known = this.#slots[slot]!; known !== 0; known = this.#slots[slot]!) {
      const other = 4 * (known - 1)
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

  #forgetOldest(): void {
    const at = this.#first % this.#weights.length
    const slot = this.#find(this.#words, 4 * at)
    // A trace that was decided again is found by its newer decision, which stays.
    if (this.#slots[slot] === at + 1) this.#free(slot)
    this.#first++
  }

  /** Empties a slot; those behind it that probed over it move up. */
  #free(slot: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = slot
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const home = this.#hash(this.#words, 4 * (slots[next]! - 1)) & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      slots[hole] = slots[next]!
      hole = next
    }
    slots[hole] = 0
  }

  #grow(): void {
    const before = this.#weights.length
    const capacity = 2 * before
    const words = new Uint32Array(4 * capacity)
    const weights = new Float64Array(capacity)
    const shares = new Float32Array(capacity)
    const flags = new Uint8Array(capacity)
    for (let number = this.#first; number < this.#end; number++) {
      const from = number % before
      const to = number % capacity
      words.set(this.#words.subarray(4 * from, 4 * from + 4), 4 * to)
      weights[to] = this.#weights[from]!
      shares[to] = this.#shares[from]!
      flags[to] = this.#flags[from]!
    }
    this.#words = words
    this.#weights = weights
    this.#shares = shares
    this.#flags = flags
    this.#slots = new Int32Array(2 * capacity)
    for (let number = this.#first; number < this.#end; number++) {
      const at = number % capacity
      this.#slots[this.#find(words, 4 * at)] = at + 1
    }
  }
}
