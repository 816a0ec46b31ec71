import { createHash } from 'node:crypto'
import type { Member } from './envelope.ts'

export interface DedupeLimits {
  readonly windowMs: number
  readonly maxBytes: number
}

export const DEDUPE_DEFAULTS: DedupeLimits = { windowMs: 20 * 60_000, maxBytes: 64 * 1024 * 1024 }

/** Key (16), time (8), two slots of the table (8). */
const ENTRY_BYTES = 32
const FIRST_CAPACITY = 1024

/**
 * The members that a reader has passed within the last 20 minutes of WAL time. A member is a duplicate exactly when
 * an earlier one with its key (itself a duplicate or not) lies within the window before it: that depends on the log
 * alone, so that every reader, also one that rebuilds the window from the log, decides alike.
 *
 * Sightings stand in a ring, oldest first; an open-addressed table finds a key's newest one. A Map of strings took
 * five times the memory (two million sightings fit 64 MiB) and its garbage a tenth of the reader's time, measured.
 *
 *     ring   words[4 i … 4 i + 3] = key, times[i]         i = head … head + count - 1, modulo capacity
 *     table  slots[h] = i + 1, 0: free                    h = first word of the key, then linear probing
 */
export class DedupeWindow {
  readonly #windowMs: number
  readonly #maxEntries: number
  readonly #tenants = new Map<string, Uint32Array>()
  readonly #key = new Uint32Array(4)
  #words = new Uint32Array(4 * FIRST_CAPACITY)
  #times = new Float64Array(FIRST_CAPACITY)
  #slots = new Int32Array(2 * FIRST_CAPACITY)
  #head = 0
  #count = 0

  constructor(limits: DedupeLimits = DEDUPE_DEFAULTS) {
    this.#windowMs = limits.windowMs
    this.#maxEntries = Math.max(1, Math.floor(limits.maxBytes / ENTRY_BYTES))
  }

  /** Sightings remembered. */
  get size(): number {
    return this.#count
  }

  /** Notes the member as passed at `timeMs` of the WAL; true when it is a duplicate. */
  pass(tenant: string, member: Member, timeMs: number): boolean {
    this.#setKey(tenant, member)
    const known = this.#slots[this.#find(this.#key, 0)] ?? 0
    const seen = known === 0 ? -Infinity : (this.#times[known - 1] ?? -Infinity)
    while (this.#count > 0 && this.#oldestLeaves(timeMs)) this.#forgetOldest()
    if (this.#count === this.#times.length) this.#grow()
    const index = (this.#head + this.#count++) % this.#times.length
    this.#words.set(this.#key, 4 * index)
    this.#times[index] = timeMs
    this.#slots[this.#find(this.#key, 0)] = index + 1
    return timeMs - seen <= this.#windowMs
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
    return this.#count >= this.#maxEntries || nowMs - (this.#times[this.#head] ?? 0) > this.#windowMs
  }

  /** The slot of the key at `words[at]`, or the free one where it belongs. */
  #find(words: Uint32Array, at: number): number {
    const mask = this.#slots.length - 1
    const mine = this.#words
    let slot = words[at]! & mask
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
    const slot = this.#find(this.#words, 4 * this.#head)
    // A key that was seen again is found by its newer sighting, which stays.
    if (this.#slots[slot] === this.#head + 1) this.#free(slot)
    this.#head = (this.#head + 1) % this.#times.length
    this.#count--
  }

  /** Empties a slot; those behind it that probed over it move up. */
  #free(slot: number): void {
    const slots = this.#slots
    const mask = slots.length - 1
    let hole = slot
    for (let next = (slot + 1) & mask; slots[next] !== 0; next = (next + 1) & mask) {
      const home = this.#words[4 * (slots[next]! - 1)]! & mask
      if (((next - home) & mask) < ((next - hole) & mask)) continue
      slots[hole] = slots[next]!
      hole = next
    }
    slots[hole] = 0
  }

  #grow(): void {
    const { length } = this.#times
    const words = new Uint32Array(8 * length)
    const times = new Float64Array(2 * length)
    for (let n = 0; n < this.#count; n++) {
      const from = (this.#head + n) % length
      words.set(this.#words.subarray(4 * from, 4 * from + 4), 4 * n)
      times[n] = this.#times[from]!
    }
    this.#words = words
    this.#times = times
    this.#slots = new Int32Array(4 * length)
    this.#head = 0
    for (let n = 0; n < this.#count; n++) this.#slots[this.#find(words, 4 * n)] = n + 1
  }
}
