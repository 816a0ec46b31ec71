import { randomInt } from 'node:crypto'
import { KEY_BYTES, KeyRing, type KeyHash } from '../../pipeline/key-ring.ts'
import type { Decision } from './decision.ts'

/** A key, weight (8), share (4), flag (1), the number before (8), rounded up. */
const ENTRY_BYTES = KEY_BYTES + 24

/** Decisions that fit. */
export function decisionsIn(bytes: number): number {
  return Math.floor(bytes / ENTRY_BYTES)
}

/** The newest decisions by trace, numbered as they fell. */
export class DecisionTable {
  readonly #most: number
  readonly #ring: KeyRing
  #weights = new Float64Array()
  #shares = new Float32Array()
  #flags = new Uint8Array()
  /** Number of the decision on the same trace before, -1: there was none. It may have left the ring. */
  #before = new Float64Array()
  readonly #key = new Uint32Array(4)

  /** Holds up to `most` decisions, of which the first is numbered `first`. */
  constructor(most: number, first = 0) {
    this.#most = most
    this.#ring = new KeyRing(seededHash(), first)
  }

  /** Number of the next decision. */
  get end(): number {
    return this.#ring.end
  }

  /** Number of the oldest decision that is still here. */
  get start(): number {
    return this.#ring.end - this.#ring.size
  }

  add(key: string, { weight, share, isConsistent }: Decision): void {
    this.#setKey(key)
    const ring = this.#ring
    const former = ring.newest(this.#key)
    const before = former === undefined ? -1 : ring.numberAt(former)
    if (ring.size >= this.#most) ring.forgetOldest()
    const place = ring.add(this.#key)
    this.#weights = ring.fit(this.#weights)
    this.#shares = ring.fit(this.#shares)
    this.#flags = ring.fit(this.#flags)
    this.#weights[place] = weight
    this.#shares[place] = share
    this.#flags[place] = Number(isConsistent)
    this.#before = ring.fit(this.#before)
    this.#before[place] = before
  }

  /** The newest decision of the trace. */
  newest(key: string): Decision | undefined {
    this.#setKey(key)
    const place = this.#ring.newest(this.#key)
    return place === undefined ? undefined : this.#at(place)
  }

  /** The first decision of the trace with a number of at least `from`: later ones, whether here already or not, do not count. */
  firstSince(key: string, from: number): Decision | undefined {
    this.#setKey(key)
    const ring = this.#ring
    const least = Math.max(from, this.start)
    let place = ring.newest(this.#key)
    if (place === undefined || ring.numberAt(place) < least) return undefined
    while (this.#before[place]! >= least) place = ring.placeOf(this.#before[place]!)
    return this.#at(place)
  }

  #at(place: number): Decision {
    return {
      weight: this.#weights[place]!,
      share: this.#shares[place]!,
      isConsistent: this.#flags[place] === 1,
    }
  }

  #setKey(key: string): void {
    for (let word = 0; word < 4; word++) {
      this.#key[word] = key.charCodeAt(2 * word) | (key.charCodeAt(2 * word + 1) << 16)
    }
  }
}

/** Senders choose trace ids: a seed of this table's own keeps them from choosing ones that fall together. */
function seededHash(): KeyHash {
  const seed = randomInt(2 ** 32)
  return (words, at) => {
    let hash = seed
    for (let word = at; word < at + 4; word++) {
      hash = Math.imul(hash ^ words[word]!, 0x9e3779b1)
      hash ^= hash >>> 15
    }
    hash = Math.imul(hash, 0x85ebca6b)
    return hash ^ (hash >>> 13)
  }
}
