import { faultOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import { stateKey, type StateEntry, type StateKey, type StateStore } from './state.ts'

/** The right to do something alone, until `lost` aborts or it is released. */
export interface Lease {
  /** Grows with every holder: write it into what you guard, and refuse smaller ones. */
  readonly fence: number
  readonly lost: AbortSignal
  /** Lets the next holder in at once. Never rejects. */
  release(): Promise<void>
}

export interface LeaseOptions {
  /** A holder that has not renewed for this long is taken for dead. Default 6 s: hand-over within 10 s of a kill. */
  readonly ttlMs?: number
  /** Monotonic ms of this process; never compared with another's. */
  readonly clock?: () => number
  /** Gives up waiting. */
  readonly signal?: AbortSignal
}

/** As stored, JSON. `beat` grows with every renewal, so that a renewal is visible as a new revision and as a new text. */
interface LeaseRecord {
  readonly v: 1
  /** Empty: released. */
  readonly holder: string
  readonly fence: number
  readonly beat: number
}

const TTL_MS = 6000
const NEVER = new AbortController().signal

/**
 * Waits until the lease `name` is ours; undefined when `options.signal` aborts first. `holder` must be unique among
 * what runs at a time: who comes under the name of one that has ended takes its lease over at once. Expiry is judged
 * as Kubernetes' leader election does: a candidate takes over when it has itself seen the record unchanged for
 * `ttlMs`. No clock is compared with another one, so skew between daemons does not matter.
 */
export async function acquireLease(
  store: StateStore,
  name: string,
  holder: string,
  options: LeaseOptions = {},
): Promise<Lease | undefined> {
  const { ttlMs = TTL_MS, clock = () => performance.now(), signal = NEVER } = options
  const key = stateKey('lease', name)
  let seen: { readonly revision: number; readonly atMs: number } | undefined
  while (!signal.aborted) {
    const askedMs = clock()
    const entry = await orNothing(() => store.get(key))
    if (entry !== 'unavailable') {
      if (entry?.revision !== seen?.revision || seen === undefined) {
        seen = { revision: entry?.revision ?? 0, atMs: clock() }
      }
      if (isFree(entry, holder) || clock() - seen.atMs >= ttlMs) {
        const won = await orNothing(() => take(store, key, holder, entry))
        if (won !== undefined && won !== 'unavailable') {
          return new HeldLease({ store, key, ttlMs, clock }, won, askedMs)
        }
      }
    }
    await sleep((ttlMs / 8) * (0.75 + Math.random() / 2), signal)
  }
  return undefined
}

/** Who has the lease; undefined where nobody has. */
export async function leaseHolder(store: StateStore, name: string): Promise<string | undefined> {
  const entry = await store.get(stateKey('lease', name))
  return entry === undefined ? undefined : parse(entry).holder || undefined
}

interface Held {
  readonly record: LeaseRecord
  readonly revision: number
}

interface Place {
  readonly store: StateStore
  readonly key: StateKey
  readonly ttlMs: number
  readonly clock: () => number
}

/** Held under our own name: by a predecessor that has ended, see `acquireLease`. */
function isFree(entry: StateEntry | undefined, holder: string): boolean {
  return entry === undefined || ['', holder].includes(parse(entry).holder)
}

async function take(
  store: StateStore,
  key: StateKey,
  holder: string,
  entry: StateEntry | undefined,
): Promise<Held | undefined> {
  const fence = entry === undefined ? 1 : parse(entry).fence + 1
  const record: LeaseRecord = { v: 1, holder, fence, beat: 0 }
  const revision =
    entry === undefined
      ? await store.create(key, encode(record))
      : await store.update(key, encode(record), entry.revision)
  return revision === undefined ? undefined : { record, revision }
}

class HeldLease implements Lease {
  readonly #place: Place
  readonly #lost = new AbortController()
  readonly #ended = new AbortController()
  readonly #renewing: Promise<void>
  #held: Held
  /** When the last renewal that succeeded was begun: others may count from then at the earliest. */
  #renewedMs: number
  #expiry: NodeJS.Timeout | undefined

  constructor(place: Place, held: Held, askedMs: number) {
    this.#place = place
    this.#held = held
    this.#renewedMs = askedMs
    this.#arm()
    this.#renewing = this.#renew()
  }

  get fence(): number {
    return this.#held.record.fence
  }

  get lost(): AbortSignal {
    return this.#lost.signal
  }

  async release(): Promise<void> {
    if (this.#ended.signal.aborted) return
    this.#ended.abort()
    clearTimeout(this.#expiry)
    await this.#renewing
    const { record, revision } = this.#held
    if (this.#lost.signal.aborted) return
    await orNothing(() =>
      this.#place.store.update(this.#place.key, encode({ ...record, holder: '' }), revision),
    )
    this.#lost.abort()
  }

  /** Gives up before anyone else may take over, even when the store does not answer. */
  #arm(): void {
    const { ttlMs, clock } = this.#place
    clearTimeout(this.#expiry)
    const left = this.#renewedMs + ttlMs * 0.8 - clock()
    this.#expiry = setTimeout(() => this.#lose(), Math.max(0, left))
    this.#expiry.unref()
  }

  #lose(): void {
    clearTimeout(this.#expiry)
    this.#lost.abort()
    this.#ended.abort()
  }

  async #renew(): Promise<void> {
    const { ttlMs, clock } = this.#place
    for (;;) {
      await sleep((ttlMs / 4) * (0.75 + Math.random() / 4), this.#ended.signal)
      if (this.#ended.signal.aborted) return
      const begunMs = clock()
      const outcome = await orNothing(() => this.#beat())
      if (this.#ended.signal.aborted) return
      if (outcome === 'unavailable') continue
      if (outcome === undefined) return this.#lose()
      this.#renewedMs = begunMs
      this.#arm()
    }
  }

  async #beat(): Promise<true | undefined> {
    const { store, key } = this.#place
    const record = { ...this.#held.record, beat: this.#held.record.beat + 1 }
    const revision = await store.update(key, encode(record), this.#held.revision)
    if (revision !== undefined) {
      this.#held = { record, revision }
      return true
    }
    return this.#adopt()
  }

  /** A renewal that timed out may have been stored: then the record is still ours under a revision we never learnt. */
  async #adopt(): Promise<true | undefined> {
    const entry = await this.#place.store.get(this.#place.key)
    if (entry === undefined) return undefined
    const record = parse(entry)
    if (record.holder !== this.#held.record.holder || record.fence !== this.#held.record.fence)
      return undefined
    this.#held = { record, revision: entry.revision }
    return true
  }
}

/** The store being away is no answer to who holds the lease; anything else is a bug. */
async function orNothing<T>(ask: () => Promise<T>): Promise<T | 'unavailable'> {
  try {
    return await ask()
  } catch (error) {
    if (faultOf(error)?.verdict.do === 'retry') return 'unavailable'
    throw error
  }
}

function encode(record: LeaseRecord): Uint8Array {
  return Buffer.from(JSON.stringify(record))
}

/** A record that cannot be read is taken for one of fence 0: whoever replaces it makes it whole. */
function parse(entry: StateEntry): LeaseRecord {
  const text = Buffer.from(entry.value).toString()
  try {
    const { holder, fence, beat } = JSON.parse(text) as Partial<LeaseRecord>
    return { v: 1, holder: holder ?? '', fence: fence ?? 0, beat: beat ?? 0 }
  } catch {
    return { v: 1, holder: text, fence: 0, beat: 0 }
  }
}
