import { POOL } from '../../proto/buffer-pool.ts'
import { reject, retry, type Fault } from '../fault.ts'
import { writeFault } from '../state/lmdb.ts'
import type { Durability, OutgoingMessage, WalDriver, WalInfo, WalPort } from './driver.ts'
import { EmbeddedLog, type LogEntry } from './embedded-log.ts'
import { EmbeddedPort } from './embedded-port.ts'
import { recordBytes, storedBytes, writeRecord } from './embedded-record.ts'
import type { LogOwner } from './log-owner.ts'
import { RecentIds } from './embedded-ids.ts'
import { within } from '../state/deadline.ts'
import { Wakeups } from './embedded-wakeups.ts'

export interface EmbeddedWalOptions {
  readonly directory: string
  readonly maxBytes: number
  readonly durability: Durability['mode']
  readonly clock: () => number
}

const MAX_MESSAGE_BYTES = 64 * 1024 * 1024
/** One transaction's worth of messages; also the size of the buffer that records are laid out in. */
const GROUP_BYTES = 4 * 1024 * 1024
const GROUP_MESSAGES = 1024
/** Bytes that may wait for the log. The intake's gate is lower; this only bounds the queue by itself. */
const QUEUE_BYTES = 256 * 1024 * 1024
const TRIM = { messages: 512, bytes: 64 * 1024 * 1024 } as const
const FULL_MS = 5000
const APPEND_TIMEOUT_MS = 10_000

interface Pending {
  readonly message: OutgoingMessage
  readonly bytes: number
  readonly resolve: (seq: number) => void
  readonly reject: (fault: Fault) => void
}

/**
 * The WAL in one LMDB file. Appends that come while a transaction is being synced go into the next one (group commit).
 *
 * Both modes sync every commit (see `openEnv`), so `process` is `strict` in fact. Measured, 2 cores, pages reused:
 * the same transactions on an idle machine 730 MB/s (432 KB messages) and 155 MB/s = 152 k/s (1 KB); this driver on a
 * machine loaded to 2 processes per core 226-266 MB/s (p99 75 ms, 16 in flight) and 44 k/s (p99 28 ms, 512 in flight);
 * one lone append 0.4 ms idle, 0.6 ms loaded. While the file still grows, about half of it. Reading 470-730 MB/s.
 */
export class EmbeddedWal implements WalDriver {
  readonly kind = 'embedded'
  readonly maxMessageBytes = MAX_MESSAGE_BYTES
  readonly #options: EmbeddedWalOptions
  readonly #wakeups = new Wakeups()
  readonly #ids = new RecentIds()
  readonly #queue: Pending[] = []
  #queuedBytes = 0
  #writing: Promise<void> | undefined
  #arena: Buffer | undefined
  /** Asked before the next append. */
  #used: (() => Promise<number>) | undefined
  #log: EmbeddedLog | undefined

  constructor(options: EmbeddedWalOptions) {
    this.#options = options
  }

  async open(): Promise<void> {
    this.#log ??= await EmbeddedLog.open(this.#options)
  }

  async close(): Promise<void> {
    const log = this.#log
    if (log === undefined) return
    while (this.#writing !== undefined) await this.#writing
    this.#log = undefined
    this.#wakeups.notify()
    this.#arena = undefined
    await log.close()
  }

  async append(message: OutgoingMessage): Promise<number> {
    const stored = this.#ids.once(message.id, () => this.#enqueue(message))
    return within(APPEND_TIMEOUT_MS, stored, () =>
      // Still under way: a retry with the same id joins it and is not stored twice.
      retry('WAL_UNAVAILABLE', `the WAL in ${this.#options.directory} did not confirm a write in time`, 1000),
    )
  }

  #enqueue(message: OutgoingMessage): Promise<number> {
    const bytes = recordBytes(message)
    if (bytes > MAX_MESSAGE_BYTES) {
      throw reject(
        'SPAN_TOO_LARGE',
        `a WAL message of ${bytes} bytes is over the limit of ${MAX_MESSAGE_BYTES} bytes; send smaller batches`,
      )
    }
    this.#opened()
    if (this.#queuedBytes + bytes > QUEUE_BYTES) {
      throw retry('WAL_UNAVAILABLE', `${this.#queuedBytes} bytes already wait for the WAL`, 1000)
    }
    this.#queuedBytes += bytes
    return new Promise((resolve, reject) => {
      this.#queue.push({ message, bytes, resolve, reject })
      this.#writing ??= this.#drain()
    })
  }

  /** Runs until the queue is empty; one transaction at a time, everything that waits joins the next. */
  async #drain(): Promise<void> {
    await Promise.resolve() // appends of the same turn share the first transaction
    while (this.#queue.length > 0) await this.#commit(this.#takeGroup())
    this.#writing = undefined
  }

  #takeGroup(): Pending[] {
    const group: Pending[] = []
    let bytes = 0
    for (const pending of this.#queue) {
      if (group.length > 0 && (bytes + pending.bytes > GROUP_BYTES || group.length === GROUP_MESSAGES)) break
      group.push(pending)
      bytes += pending.bytes
    }
    this.#queue.splice(0, group.length)
    this.#queuedBytes -= bytes
    return group
  }

  async #commit(group: readonly Pending[]): Promise<void> {
    let waiting = group
    try {
      const log = this.#opened()
      waiting = this.#refuseOverflow(log, group)
      if (waiting.length === 0) return
      if (this.#used !== undefined) await log.reserve(await this.#used())
      this.#used = undefined
      const entries = this.#layOut(waiting, log.pageBytes)
      const first = await log.append(entries).finally(() => giveBack(entries))
      for (const [at, pending] of waiting.entries()) pending.resolve(first + at)
      this.#wakeups.notify()
    } catch (error) {
      const fault = await this.#fault(error)
      for (const pending of waiting) pending.reject(fault)
    }
  }

  #refuseOverflow(log: EmbeddedLog, group: readonly Pending[]): Pending[] {
    let room = this.#options.maxBytes - log.bytes
    return group.filter((pending) => {
      const bytes = storedBytes(pending.bytes, log.pageBytes)
      if (bytes <= room) {
        room -= bytes
        return true
      }
      pending.reject(walFull(this.#options))
      return false
    })
  }

  /** Writes the records side by side into one buffer that is used again for every transaction: fresh memory costs more than the copy. */
  #layOut(group: readonly Pending[], pageBytes: number): LogEntry[] {
    const timeMs = this.#options.clock()
    const arena = (this.#arena ??= Buffer.allocUnsafeSlow(GROUP_BYTES))
    let at = 0
    return group.map(({ message, bytes }) => {
      const record = bytes > GROUP_BYTES ? POOL.bytes(bytes) : arena.subarray(at, (at += bytes))
      writeRecord(record, message, timeMs)
      return { record, bytes: storedBytes(bytes, pageBytes), timeMs, tenant: message.tenant }
    })
  }

  reader(from: number): WalPort {
    return new EmbeddedPort(this.#opened(), this.#wakeups, from)
  }

  async info(): Promise<WalInfo> {
    return this.#opened().info()
  }

  async holds(from: number, to: number): Promise<boolean> {
    return this.#opened().holds(from, to)
  }

  guard(used: () => Promise<number>): void {
    this.#used = used
  }

  async claim(owner: LogOwner, anyway = false): Promise<void> {
    const log = this.#opened()
    const { directory } = this.#options
    if (anyway && log.others > 0) {
      throw reject('CONFLICT', `another process has the WAL in ${directory} open: stop every weir on it`)
    }
    let present: LogOwner
    try {
      present = await log.claim(owner, anyway)
    } catch (error) {
      throw await this.#fault(error)
    }
    if (present.id !== owner.id) throw ownedByOther(directory, present, owner)
  }

  trim(upTo: number): Promise<void> {
    return this.#remove(upTo)
  }

  purgeTenant(tenant: string, upTo: number): Promise<void> {
    return this.#remove(upTo, tenant)
  }

  async #remove(upTo: number, tenant?: string): Promise<void> {
    const log = this.#opened()
    let from: number | undefined = 0
    try {
      while (from !== undefined) {
        from = await log.remove(from, upTo, TRIM, tenant)
        await new Promise((resolve) => setImmediate(resolve))
      }
    } catch (error) {
      throw await this.#fault(error)
    }
  }

  #fault(error: unknown): Promise<Fault> {
    const codes = { full: 'WAL_FULL', failed: 'WAL_UNAVAILABLE' } as const
    return writeFault(error, this.#options.directory, codes)
  }

  durability(): Durability {
    return { mode: this.#options.durability, proof: 'LMDB syncs every commit to disk before it is answered' }
  }

  poke(): void {
    this.#wakeups.notify()
  }

  #opened(): EmbeddedLog {
    if (this.#log === undefined) throw retry('WAL_UNAVAILABLE', 'the WAL is not open')
    return this.#log
  }
}

function ownedByOther(directory: string, { place }: LogOwner, owner: LogOwner): Fault {
  const where =
    place === owner.place ? `${place}, but another one is there now` : `${place}, and this is ${owner.place}`
  return reject(
    'START_FAILED',
    `the WAL in ${directory} is read with the state store in ${where}: two of them deliver everything twice. Configure the state store ` +
      'of this WAL (`directory` or `bucket` of the extension `state`), or a `directory` of its own for this WAL; if that store is lost, ' +
      'stop every weir on the WAL and run `weir cursor adopt`',
  )
}

/** What of them did not lie in the arena. */
function giveBack(entries: readonly LogEntry[]): void {
  for (const { record } of entries) POOL.give(record.buffer)
}

function walFull(options: EmbeddedWalOptions): Fault {
  return retry(
    'WAL_FULL',
    `the WAL in ${options.directory} holds its max_bytes of ${options.maxBytes}: a destination is behind, or raise max_bytes`,
    FULL_MS,
  )
}
