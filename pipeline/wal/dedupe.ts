import { createHash } from 'node:crypto'
import { KEY_BYTES, KeyRing } from '../key-ring.ts'
import type { Member } from './envelope.ts'

export interface DedupeLimits {
  readonly windowMs: number
  readonly maxBytes: number
}

export const DEDUPE_DEFAULTS: DedupeLimits = { windowMs: 20 * 60_000, maxBytes: 64 * 1024 * 1024 }

/** Members as a window notes them, in order: keys of four words each, and the WAL times of their messages. */
export interface Sightings {
  readonly words: Uint32Array
  readonly times: Float64Array
}

/** A key, time (8). */
const ENTRY_BYTES = KEY_BYTES + 8

/** Most that a window remembers. */
export function mostSightings({ maxBytes }: DedupeLimits): number {
  return Math.max(1, Math.floor(maxBytes / ENTRY_BYTES))
}

/**
 * The members that a reader has passed within the last 20 minutes of WAL time. A member is a duplicate exactly when
 * an earlier one with its key (itself a duplicate or not) lies within the window before it: that depends on the log
 * alone, so that every reader, also one that rebuilds the window from the log, decides alike. Two million sightings
 * fit 64 MiB.
 */
export class DedupeWindow {
  readonly #windowMs: number
  readonly #maxEntries: number
  readonly #tenants = new Map<string, Uint32Array>()
  readonly #key = new Uint32Array(4)
  /** Digests are SHA-256: any word of them is a hash. */
  readonly #ring = new KeyRing((words, at) => words[at]!)
  #times = new Float64Array()

  constructor(limits: DedupeLimits = DEDUPE_DEFAULTS) {
    this.#windowMs = limits.windowMs
    this.#maxEntries = mostSightings(limits)
  }

  /** Sightings remembered. */
  get size(): number {
    return this.#ring.size
  }

  /** Number of the next sighting: they are counted as they come. */
  get end(): number {
    return this.#ring.end
  }

  /** Notes the member as passed at `timeMs` of the WAL; true when it is a duplicate. */
  pass(tenant: string, member: Member, timeMs: number): boolean {
    this.#setKey(tenant, member)
    const known = this.#ring.newest(this.#key)
    const seen = known === undefined ? -Infinity : this.#times[known]!
    this.#note(timeMs)
    return timeMs - seen <= this.#windowMs
  }

  /** Those with numbers `from` to `end`, `end` excluded; none may be forgotten yet. */
  sightings(from: number, end: number): Sightings {
    const words = new Uint32Array(4 * (end - from))
    const times = new Float64Array(end - from)
    for (let n = 0; n < times.length; n++) {
      const place = this.#ring.placeOf(from + n)
      this.#ring.copyKey(place, words, 4 * n)
      times[n] = this.#times[place]!
    }
    return { words, times }
  }

  /** Number of the oldest sighting that is remembered. */
  get first(): number {
    return this.#ring.end - this.#ring.size
  }

  /** Notes the first `count` that another window had noted. */
  restore({ words, times }: Sightings, count = times.length): void {
    for (let n = 0; n < count; n++) {
      for (let word = 0; word < 4; word++) this.#key[word] = words[4 * n + word]!
      this.#note(times[n]!)
    }
  }

  #note(timeMs: number): void {
    const ring = this.#ring
    while (ring.size > 0 && this.#oldestLeaves(timeMs)) ring.forgetOldest()
    const place = ring.add(this.#key)
    this.#times = ring.fit(this.#times)
    this.#times[place] = timeMs
  }

  /**
   * Digest and tenant, and what exactly a part holds: a repeat that was split in another way is no repeat. Digests are
   * SHA-256, so that mixing the rest in by exclusive or keeps different keys apart.
   */
  #setKey(tenant: string, { digest, part, firstRow, spans }: Member): void {
    const salt = this.#salt(tenant)
    for (let word = 0; word < 4; word++) {
      const at = 4 * word
      const low = (digest[at] ?? 0) | ((digest[at + 1] ?? 0) << 8)
      const high = (digest[at + 2] ?? 0) | ((digest[at + 3] ?? 0) << 8)
      this.#key[word] = (low | (high << 16)) ^ (salt[word] ?? 0)
    }
    this.#key[1]! ^= part
    this.#key[2]! ^= firstRow
    this.#key[3]! ^= spans
  }

  #salt(tenant: string): Uint32Array {
    let salt = this.#tenants.get(tenant)
    if (salt === undefined) {
      const hash = createHash('sha256').update(tenant).digest()
      salt = Uint32Array.from([0, 4, 8, 12], (at) => hash.readUInt32LE(at))
      this.#tenants.set(tenant, salt)
    }
    return salt
  }

  #oldestLeaves(nowMs: number): boolean {
    return this.#ring.size >= this.#maxEntries || nowMs - this.#times[this.#ring.oldest]! > this.#windowMs
  }
}
