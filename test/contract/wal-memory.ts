import { retry } from '../../pipeline/fault.ts'
import type { StateChange, StateEntry, StateKey, StateStore } from '../../pipeline/state/state.ts'
import type { OutgoingMessage, WalDriver, WalInfo, WalMessage, WalPort } from '../../pipeline/wal/driver.ts'
import type { Acquire } from '../../pipeline/wal/reader.ts'

/** The simplest log and state that keep the contracts: the models that property tests run the WAL over. */

export class MemoryLog {
  readonly messages: WalMessage[] = []
  lastSeq = 0
  maxBytes = 64 * 1024 * 1024
  nowMs = 1_700_000_000_000
  /** Appends fail with WAL_UNAVAILABLE: `before` the message is stored, or `after` it. */
  failing: 'before' | 'after' | undefined
  readonly waiting = new Set<() => void>()

  get bytes(): number {
    return this.messages.reduce((sum, message) => sum + message.bytes.length, 0)
  }

  changed(): void {
    for (const wake of this.waiting) wake()
  }
}

export class MemoryDriver implements WalDriver {
  readonly kind = 'embedded'
  readonly maxMessageBytes: number
  readonly log: MemoryLog

  constructor(log: MemoryLog, maxMessageBytes = 1024 * 1024) {
    this.log = log
    this.maxMessageBytes = maxMessageBytes
  }

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async append({ signal, tenant, parts }: OutgoingMessage): Promise<number> {
    const { log } = this
    const bytes = Buffer.concat(parts)
    await Promise.resolve()
    if (log.failing === 'before') throw retry('WAL_UNAVAILABLE', 'told to fail')
    if (log.bytes + bytes.length > log.maxBytes) throw retry('WAL_FULL', 'full')
    log.messages.push({ seq: ++log.lastSeq, timeMs: log.nowMs, signal, tenant, bytes })
    log.changed()
    if (log.failing === 'after') throw retry('WAL_UNAVAILABLE', 'told to fail after the write')
    return log.lastSeq
  }

  reader(from: number): WalPort {
    return new MemoryPort(this.log, from)
  }

  async info(): Promise<WalInfo> {
    const { messages, lastSeq, bytes, maxBytes } = this.log
    const first = messages[0]
    return {
      firstSeq: first?.seq ?? lastSeq + 1,
      lastSeq,
      messages: messages.length,
      bytes,
      maxBytes,
      oldestMs: first?.timeMs,
    }
  }

  async holds(from: number, to: number): Promise<boolean> {
    return this.log.messages.some(({ seq }) => seq >= from && seq <= to)
  }

  guard(): void {}

  async trim(upTo: number): Promise<void> {
    this.#remove((message) => message.seq <= upTo)
  }

  async purgeTenant(tenant: string, upTo: number): Promise<void> {
    this.#remove((message) => message.tenant === tenant && message.seq <= upTo)
  }

  #remove(gone: (message: WalMessage) => boolean): void {
    const left = this.log.messages.filter((message) => !gone(message))
    this.log.messages.splice(0, this.log.messages.length, ...left)
  }

  durability() {
    return { mode: 'process', proof: 'a model' } as const
  }

  poke(): void {
    this.log.changed()
  }
}

class MemoryPort implements WalPort {
  readonly #log: MemoryLog
  #from: number

  constructor(log: MemoryLog, from: number) {
    this.#log = log
    this.#from = from
  }

  async next(maxBytes: number, signal: AbortSignal): Promise<WalMessage[]> {
    for (;;) {
      const found: WalMessage[] = []
      let bytes = 0
      for (const message of this.#log.messages) {
        if (message.seq < this.#from) continue
        bytes += message.bytes.length
        if (found.length > 0 && bytes > maxBytes) break
        found.push(message)
      }
      const last = found.at(-1)
      if (last !== undefined) this.#from = last.seq + 1
      if (last !== undefined || signal.aborted) return found
      await this.#change(signal)
    }
  }

  #change(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const done = () => {
        this.#log.waiting.delete(done)
        signal.removeEventListener('abort', done)
        resolve()
      }
      this.#log.waiting.add(done)
      signal.addEventListener('abort', done)
    })
  }

  async seek(from: number): Promise<void> {
    this.#from = from
  }

  async close(): Promise<void> {}
}

export class MemoryState implements StateStore {
  readonly place = 'memory'
  readonly #entries = new Map<StateKey, StateEntry>()
  #revision = 0

  async open(): Promise<void> {}
  async close(): Promise<void> {}

  async get(key: StateKey): Promise<StateEntry | undefined> {
    return this.#entries.get(key)
  }

  async put(key: StateKey, value: Uint8Array): Promise<number> {
    return this.#write(key, value)
  }

  async create(key: StateKey, value: Uint8Array): Promise<number | undefined> {
    return this.#entries.has(key) ? undefined : this.put(key, value)
  }

  async update(key: StateKey, value: Uint8Array, revision: number): Promise<number | undefined> {
    if (this.#entries.get(key)?.revision !== revision) return undefined
    return this.#write(key, value)
  }

  #write(key: StateKey, value: Uint8Array): number {
    const revision = ++this.#revision
    this.#entries.set(key, { key, value: Buffer.from(value), revision })
    return revision
  }

  async delete(key: StateKey, revision?: number): Promise<boolean> {
    const entry = this.#entries.get(key)
    if (entry === undefined || (revision !== undefined && entry.revision !== revision)) return false
    return this.#entries.delete(key)
  }

  async forget(prefix: StateKey): Promise<void> {
    for (const { key } of await this.list(prefix)) this.#entries.delete(key)
  }

  async list(prefix: StateKey): Promise<StateEntry[]> {
    const within = Array.from(this.#entries.values()).filter(
      ({ key }) => key === prefix || key.startsWith(`${prefix}.`),
    )
    return within.sort((a, b) => (a.key < b.key ? -1 : 1))
  }

  // oxlint-disable-next-line require-yield -- the WAL watches nothing
  async *watch(): AsyncIterable<StateChange> {}
}

/** Leases that can be taken away. */
export class MemoryLeases {
  #fence = 0
  readonly #holders = new Map<string, AbortController>()
  readonly #waiting = new Set<() => void>()

  readonly acquire: Acquire = async (name, signal) => {
    while (this.#holders.has(name)) {
      if (signal.aborted) return undefined
      await new Promise<void>((resolve) => {
        this.#waiting.add(resolve)
        signal.addEventListener('abort', () => resolve(), { once: true })
      })
    }
    if (signal.aborted) return undefined
    const lost = new AbortController()
    this.#holders.set(name, lost)
    const release = async () => {
      if (this.#holders.get(name) === lost) this.revoke(name)
    }
    return { fence: ++this.#fence, lost: lost.signal, release }
  }

  /** The lease is free for others; its holder hears of it only when `tell`. */
  revoke(name: string, tell = true): void {
    if (tell) this.#holders.get(name)?.abort()
    this.#holders.delete(name)
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

/** One daemon's view of the state: told before and after every write, so that it can die at either. */
export class SteppedState implements StateStore {
  readonly place = 'memory'
  readonly #inner: StateStore
  readonly #step: () => Promise<void>

  constructor(inner: StateStore, step: () => Promise<void>) {
    this.#inner = inner
    this.#step = step
  }

  async open(): Promise<void> {}
  async close(): Promise<void> {}
  get = (key: StateKey) => this.#inner.get(key)
  list = (prefix: StateKey) => this.#inner.list(prefix)
  forget = (prefix: StateKey) => this.#stepped(() => this.#inner.forget(prefix))
  watch = (prefix: StateKey, signal: AbortSignal) => this.#inner.watch(prefix, signal)
  put = (key: StateKey, value: Uint8Array) => this.#stepped(() => this.#inner.put(key, value))
  create = (key: StateKey, value: Uint8Array) => this.#stepped(() => this.#inner.create(key, value))
  update = (key: StateKey, value: Uint8Array, revision: number) =>
    this.#stepped(() => this.#inner.update(key, value, revision))
  delete = (key: StateKey, revision?: number) => this.#stepped(() => this.#inner.delete(key, revision))

  async #stepped<T>(write: () => Promise<T>): Promise<T> {
    await this.#step()
    const result = await write()
    await this.#step()
    return result
  }
}
