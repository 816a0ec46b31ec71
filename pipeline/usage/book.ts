import { messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import { stateKey, type StateKey, type StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import { decodeUsage, encodeUsage, partsOf, SHARDS, usageKey, usagePrefix } from './record.ts'
import { dayOf, NOTHING_SPENT, plus, type Spent, type Usage } from './usage.ts'

export interface UsageOptions {
  readonly state: StateStore
  readonly log: Log
  readonly clock: () => number
  /** How often additions are written. */
  readonly flushMs?: number
}

const FLUSH_MS = 1000
const PARALLEL = 16
const TRIES = 50
const TRY_MS = 5
const FOLLOW_AGAIN_MS = 1000
/** Days before today whose counters are kept. */
const KEEP_DAYS = 3
/** A daemon that slept longer than this leaves the days between behind, which costs some bytes and nothing else. */
const FORGET_DAYS = 30
const DAY_MS = 24 * 3_600_000

interface Seen {
  readonly revision: number
  readonly spent: Spent
}

/**
 * Usage in the state store. Error: what a process added within the last `flushMs` is not seen by others yet, and is lost
 * with it by kill -9; a write whose answer was lost may be counted twice.
 */
export class UsageBook implements Usage {
  readonly #options: UsageOptions
  readonly #shard = Math.floor(Math.random() * SHARDS)
  readonly #ending = new AbortController()
  /** day → account → what is not written yet. */
  #pending = new Map<string, Map<string, Spent>>()
  /** The same while it is being written. */
  #writing: ReadonlyMap<string, Map<string, Spent>> = new Map()
  /** day → account → shard's key → its value. */
  readonly #seen = new Map<string, Map<string, Map<StateKey, Seen>>>()
  #flushing: Promise<void> | undefined
  #following: Promise<void> | undefined
  #timer: NodeJS.Timeout | undefined
  #tidiedDay = ''

  constructor(options: UsageOptions) {
    this.#options = options
  }

  add(account: string, atMs: number, amount: Partial<Spent>): void {
    this.#put(dayOf(atMs), account, amount)
    this.#timer ??= setTimeout(() => void this.flush(), this.#options.flushMs ?? FLUSH_MS)
  }

  of(account: string, atMs: number): Spent {
    const day = dayOf(atMs)
    let sum = NOTHING_SPENT
    for (const { spent } of this.#seen.get(day)?.get(stateKey(account))?.values() ?? [])
      sum = plus(sum, spent)
    for (const own of [this.#pending, this.#writing]) sum = plus(sum, own.get(day)?.get(account) ?? {})
    return sum
  }

  follow(): Promise<void> {
    this.#following ??= this.#follow().catch((error: unknown) => {
      this.#following = undefined
      throw error
    })
    return this.#following
  }

  /** Writes what was added. Does not reject: what could not be written waits for the next time. */
  async flush(): Promise<void> {
    clearTimeout(this.#timer)
    this.#timer = undefined
    while (this.#flushing !== undefined) await this.#flushing
    this.#flushing = this.#flush().finally(() => (this.#flushing = undefined))
    await this.#flushing
  }

  /** Writes the last of it. Bounded by the state store's own deadlines. */
  async stop(): Promise<void> {
    this.#ending.abort()
    await this.flush()
    clearTimeout(this.#timer)
  }

  async #flush(): Promise<void> {
    const taken = this.#pending
    this.#pending = new Map()
    this.#writing = taken
    const entries = [...taken].flatMap(([day, accounts]) =>
      Array.from(accounts, ([account, spent]) => ({ day, account, spent })),
    )
    for (let at = 0; at < entries.length; at += PARALLEL) {
      await Promise.all(entries.slice(at, at + PARALLEL).map((entry) => this.#write(taken, entry)))
    }
    this.#writing = new Map()
    await this.#tidy()
  }

  async #write(
    taken: Map<string, Map<string, Spent>>,
    { day, account, spent }: { day: string; account: string; spent: Spent },
  ): Promise<void> {
    try {
      await this.#addTo(usageKey(day, account, this.#shard), spent)
      taken.get(day)?.delete(account)
    } catch (error) {
      this.#options.log.debug({ error: messageOf(error), account }, 'Usage could not be written yet')
      taken.get(day)?.delete(account)
      if (this.#ending.signal.aborted) return
      this.add(account, Date.parse(`${day}T00:00:00Z`), spent)
    }
  }

  async #addTo(key: StateKey, spent: Spent): Promise<void> {
    const { state } = this.#options
    for (let attempt = 0; attempt < TRIES; attempt++) {
      const entry = await state.get(key)
      const before = entry === undefined ? undefined : decodeUsage(key, entry.value)
      const sum = plus(before ?? NOTHING_SPENT, spent)
      const value = encodeUsage(sum)
      const revision = await (entry === undefined
        ? state.create(key, value)
        : state.update(key, value, entry.revision))
      if (revision !== undefined) return this.#see(key, { revision, spent: sum })
      await sleep(Math.random() * TRY_MS * (attempt + 1), NEVER)
    }
    throw new Error(`${key} changed ${TRIES} times while it was written`)
  }

  /** Reads today, and then what changes; from the start again when the store was away. */
  async #follow(): Promise<void> {
    const changes = await this.#begin()
    void (async () => {
      let next:
        | AsyncIterable<{ key: StateKey; value: Uint8Array | undefined; revision: number }>
        | undefined = changes
      while (!this.#ending.signal.aborted) {
        try {
          next ??= await this.#begin()
          for await (const { key, value, revision } of next) {
            if (value !== undefined) this.#read(key, value, revision)
          }
        } catch (error) {
          this.#options.log.debug({ error: messageOf(error) }, 'Usage could not be followed')
        }
        next = undefined
        await sleep(FOLLOW_AGAIN_MS, this.#ending.signal)
      }
    })()
  }

  async #begin() {
    const { state, clock } = this.#options
    const changes = state.watch(usagePrefix(), this.#ending.signal)
    for (const { key, value, revision } of await state.list(usagePrefix(dayOf(clock())))) {
      this.#read(key, value, revision)
    }
    return changes
  }

  #read(key: StateKey, value: Uint8Array, revision: number): void {
    const spent = decodeUsage(key, value)
    if (spent !== undefined) this.#see(key, { revision, spent })
    else this.#options.log.warn({ key }, 'A record of usage is damaged: it counts as nothing')
  }

  #see(key: StateKey, seen: Seen): void {
    const { day, token } = partsOf(key)
    const accounts = this.#seen.get(day) ?? new Map<string, Map<StateKey, Seen>>()
    const shards = accounts.get(token) ?? new Map<StateKey, Seen>()
    if ((shards.get(key)?.revision ?? -1) >= seen.revision) return
    this.#seen.set(day, accounts.set(token, shards.set(key, seen)))
  }

  #put(day: string, account: string, amount: Partial<Spent>): void {
    const accounts = this.#pending.get(day) ?? new Map<string, Spent>()
    this.#pending.set(day, accounts.set(account, plus(accounts.get(account) ?? NOTHING_SPENT, amount)))
  }

  /** Once a day: forgets what is older than a few days. */
  async #tidy(): Promise<void> {
    const { state, clock } = this.#options
    const today = dayOf(clock())
    if (today === this.#tidiedDay) return
    this.#tidiedDay = today
    const oldest = dayOf(clock() - KEEP_DAYS * DAY_MS)
    for (const day of this.#seen.keys()) if (day < oldest) this.#seen.delete(day)
    try {
      for (let ago = KEEP_DAYS + 1; ago <= FORGET_DAYS; ago++) {
        const old = await state.list(usagePrefix(dayOf(clock() - ago * DAY_MS)))
        for (const { key } of old) await state.delete(key)
      }
    } catch (error) {
      this.#options.log.debug({ error: messageOf(error) }, 'Old usage could not be removed')
    }
  }
}

const NEVER = new AbortController().signal
