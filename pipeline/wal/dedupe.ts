import type { Member } from './envelope.ts'

/** What a member is known by, over merges and splits. */
export type MemberKey = string

/** An entry's Map slot, its key (about 40 characters) and its place in the queue, measured. */
const ENTRY_BYTES = 160
const CHUNK = 4096

export interface DedupeLimits {
  readonly windowMs: number
  readonly maxBytes: number
}

export const DEDUPE_DEFAULTS: DedupeLimits = { windowMs: 20 * 60_000, maxBytes: 64 * 1024 * 1024 }

/** Digest, tenant, and for a part what exactly it holds: a repeat that was split in another way is no repeat. */
export function memberKey(tenant: string, member: Member): MemberKey {
  const digest = Buffer.from(member.digest.buffer, member.digest.byteOffset, 16).toString('latin1')
  if (member.part === 0 && member.firstRow === 0) return `${digest}${tenant}:${member.spans}`
  return `${digest}${tenant}:${member.spans}:${member.part}:${member.firstRow}`
}

/**
 * The members that a reader has passed within the last 20 minutes of WAL time. A member is a duplicate exactly when
 * an earlier one with its key (itself a duplicate or not) lies within the window before it: that depends on the log
 * alone, so that every reader, also one that rebuilds the window from the log, decides alike.
 */
export class DedupeWindow {
  readonly #limits: DedupeLimits
  readonly #lastSeen = new Map<MemberKey, number>()
  /** Sightings, oldest first, in chunks: a Map with its oldest keys deleted one by one would slow down. */
  #chunks: { key: MemberKey; timeMs: number }[][] = [[]]
  #head = 0
  #sightings = 0

  constructor(limits: DedupeLimits = DEDUPE_DEFAULTS) {
    this.#limits = limits
  }

  get size(): number {
    return this.#lastSeen.size
  }

  /** Notes the member as passed at `timeMs` of the WAL; true when it is a duplicate. */
  pass(key: MemberKey, timeMs: number): boolean {
    const seen = this.#lastSeen.get(key)
    this.#lastSeen.set(key, timeMs)
    this.#push(key, timeMs)
    this.#evict(timeMs)
    return seen !== undefined && timeMs - seen <= this.#limits.windowMs
  }

  #push(key: MemberKey, timeMs: number): void {
    let last = this.#chunks.at(-1)
    if (last === undefined || last.length === CHUNK) {
      last = []
      this.#chunks.push(last)
    }
    last.push({ key, timeMs })
    this.#sightings++
  }

  #evict(nowMs: number): void {
    const maxSightings = Math.max(1, Math.floor(this.#limits.maxBytes / ENTRY_BYTES))
    for (;;) {
      const oldest = this.#chunks[0]?.[this.#head]
      if (oldest === undefined) return
      if (this.#sightings <= maxSightings && nowMs - oldest.timeMs <= this.#limits.windowMs) return
      if (this.#lastSeen.get(oldest.key) === oldest.timeMs) this.#lastSeen.delete(oldest.key)
      this.#sightings--
      if (++this.#head === CHUNK) {
        this.#chunks.shift()
        this.#head = 0
      }
    }
  }
}
