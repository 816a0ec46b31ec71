import { POOL } from '../../proto/buffer-pool.ts'
import { retry, reject } from '../fault.ts'
import { openEnv, type Env, type Table } from '../state/lmdb.ts'
import { openShared, type Share } from '../state/lmdb-share.ts'
import type { WalInfo, WalMessage } from './driver.ts'
import type { LogOwner } from './log-owner.ts'
import { PAGE_BYTES, readIndex, readRecord, writeIndex, type IndexEntry } from './embedded-record.ts'

/**
 * The log's tables in one LMDB environment:
 *   messages  sequence → record
 *   index     sequence → bytes, time and tenant, so that trimming and purging never touch message pages
 *   heads     'tail' (written by appends) and 'head' (written by trims), each with a version that conditions the write:
 *             several processes append and trim at once without a lock of ours. 'format' is the layout's version,
 *             'owner' the state store whose cursors stand here, as JSON (absent in logs of before).
 * A head is two f64: tail = next sequence, bytes ever appended; head = messages, bytes ever removed.
 * (Counting both ways keeps appends and trims from conflicting.) tail also counts messages: third f64.
 */
const FORMAT = 1

interface Tail {
  readonly next: number
  readonly bytes: number
  readonly messages: number
}

interface Removed {
  readonly messages: number
  readonly bytes: number
}

export interface LogEntry extends IndexEntry {
  readonly record: Buffer
}

export interface LogOptions {
  readonly directory: string
  readonly maxBytes: number
}

/** Pages, the free list and the index need room beside the messages; it is address space until used. */
function mapBytes(maxBytes: number): number {
  const bytes = Math.ceil(maxBytes * 1.5) + 1024 ** 3
  return Math.ceil(bytes / 65_536) * 65_536
}

export class EmbeddedLog {
  readonly #env: Env
  readonly #messages: Table<number>
  readonly #index: Table<number>
  readonly #heads: Table<string>
  readonly #maxBytes: number
  /** Of this file, which may be older. */
  readonly pageBytes: number
  readonly #share: Share

  static open(options: LogOptions): Promise<EmbeddedLog> {
    return openShared(options.directory, (share) => new EmbeddedLog(options, share))
  }

  private constructor(options: LogOptions, share: Share) {
    this.#maxBytes = options.maxBytes
    this.#share = share
    this.#env = openEnv({
      directory: options.directory,
      mapBytes: mapBytes(options.maxBytes),
      pageBytes: PAGE_BYTES,
      remedy:
        'Stop weir, move the directory aside (its undelivered messages are lost) or restore it from a copy, and start again.',
    })
    this.pageBytes = (this.#env.getStats() as { pageSize: number }).pageSize
    this.#messages = this.#env.openDB<Buffer, number>(MESSAGES)
    this.#index = this.#env.openDB<Buffer, number>({ name: 'index', encoding: 'binary' })
    this.#heads = this.#env.openDB<Buffer, string>({ name: 'heads', encoding: 'binary', useVersions: true })
    this.#prepare(options.directory)
  }

  #prepare(directory: string): void {
    this.#env.transactionSync(() => {
      if (this.#heads.get('format') !== undefined) return
      this.#heads.putSync('format', floats(FORMAT), 1)
      this.#heads.putSync('tail', floats(1, 0, 0), 1)
      this.#heads.putSync('head', floats(0, 0), 1)
    })
    const format = this.#heads.get('format')?.readDoubleLE(0) ?? 0
    if (format > FORMAT) {
      throw reject(
        'STATE_VERSION',
        `${directory} has WAL format ${format}, this weir knows ${FORMAT}: run the newer version, or move the directory aside`,
      )
    }
  }

  async close(): Promise<void> {
    await this.#share.close(() => this.#env.close())
  }

  /** Processes, this one left out, that had the log open when it was opened here. */
  get others(): number {
    return this.#share.others
  }

  /** Whose the log is then: another's only without `anyway`. */
  claim(owner: LogOwner, anyway: boolean): Promise<LogOwner> {
    return this.#share.write(async () =>
      this.#env.transactionSync(() => {
        const present = ownerIn(this.#heads.get('owner'))
        if (present !== undefined && present.id !== owner.id && !anyway) return present
        if (present?.id !== owner.id || present.place !== owner.place) {
          this.#heads.putSync('owner', Buffer.from(JSON.stringify(owner)), 1)
        }
        return owner
      }),
    )
  }

  get lastSeq(): number {
    return this.#tail().tail.next - 1
  }

  /** Bytes stored now. */
  get bytes(): number {
    return this.#tail().tail.bytes - this.#removed().removed.bytes
  }

  /**
   * Writes `entries` under consecutive sequences in one transaction; resolves with the first one once it is synced.
   * The records are read until then.
   */
  append(entries: readonly LogEntry[]): Promise<number> {
    return this.#share.write(() => this.#append(entries))
  }

  async #append(entries: readonly LogEntry[]): Promise<number> {
    for (;;) {
      this.#env.resetReadTxn()
      const { tail, version } = this.#tail()
      const stored = await this.#heads.ifVersion('tail', version, () => {
        this.#write(tail, version, entries)
      })
      if (stored) return tail.next
    }
  }

  #write(tail: Tail, version: number, entries: readonly LogEntry[]): void {
    let seq = tail.next
    let bytes = tail.bytes
    for (const entry of entries) {
      void this.#messages.put(seq, entry.record)
      void this.#index.put(seq, writeIndex(entry))
      bytes += entry.bytes
      seq++
    }
    void this.#heads.put('tail', floats(seq, bytes, tail.messages + entries.length), version + 1)
  }

  /** The next message gets a sequence above `upTo`. */
  reserve(upTo: number): Promise<void> {
    return this.#share.write(() => this.#reserve(upTo))
  }

  async #reserve(upTo: number): Promise<void> {
    for (;;) {
      this.#env.resetReadTxn()
      const { tail, version } = this.#tail()
      if (tail.next > upTo) return
      const stored = await this.#heads.ifVersion('tail', version, () => {
        void this.#heads.put('tail', floats(upTo + 1, tail.bytes, tail.messages), version + 1)
      })
      if (stored) return
    }
  }

  holds(from: number, to: number): boolean {
    this.#env.resetReadTxn()
    for (const _key of this.#messages.getKeys({ start: from, end: to + 1, limit: 1 })) return true
    return false
  }

  /**
   * Removes at most `limit` messages with from ≤ sequence ≤ `upTo` (of one tenant, if given) in one transaction.
   * Resolves with the sequence to continue at, or undefined when nothing is left.
   */
  remove(from: number, upTo: number, limit: RemoveLimit, tenant?: string): Promise<number | undefined> {
    return this.#share.write(() => this.#remove(from, upTo, limit, tenant))
  }

  async #remove(
    from: number,
    upTo: number,
    limit: RemoveLimit,
    tenant?: string,
  ): Promise<number | undefined> {
    for (;;) {
      this.#env.readerCheck() // a killed reader's snapshot pins pages for ever otherwise
      this.#env.resetReadTxn()
      const { removed, version } = this.#removed()
      const found = this.#select(from, upTo, limit, tenant)
      if (found.seqs.length === 0) return found.next
      const stored = await this.#heads.ifVersion('head', version, () => {
        for (const seq of found.seqs) {
          void this.#messages.remove(seq)
          void this.#index.remove(seq)
        }
        const messages = removed.messages + found.seqs.length
        void this.#heads.put('head', floats(messages, removed.bytes + found.bytes), version + 1)
      })
      if (stored) return found.next
    }
  }

  #select(from: number, upTo: number, limit: RemoveLimit, tenant: string | undefined) {
    const seqs: number[] = []
    let bytes = 0
    let seen = 0
    for (const { key, value } of this.#index.getRange({ start: from, end: upTo + 1 })) {
      if (seqs.length >= limit.messages || bytes >= limit.bytes || seen++ >= SCAN_MAX) {
        return { seqs, bytes, next: key }
      }
      const entry = readIndex(value)
      if (tenant !== undefined && entry.tenant !== tenant) continue
      seqs.push(key)
      bytes += entry.bytes
    }
    return { seqs, bytes, next: undefined }
  }

  /**
   * Messages from `from` on, up to about `maxBytes`, as copies in memory of the pool where they are large. A message that fails its checksum ends the slice before
   * it, or is thrown as WAL_CORRUPT when it comes first.
   */
  read(from: number, maxBytes: number): WalMessage[] {
    const found: WalMessage[] = []
    let bytes = 0
    this.#env.resetReadTxn()
    for (const { key, value } of this.#messages.getRange({ start: from })) {
      if (found.length > 0 && bytes + value.length > maxBytes) {
        POOL.give(value.buffer)
        break
      }
      try {
        found.push(readRecord(key, value))
      } catch (error) {
        POOL.give(value.buffer)
        if (found.length > 0) break
        throw new CorruptRecord(key, error)
      }
      bytes += value.length
    }
    this.#env.resetReadTxn()
    return found
  }

  info(): WalInfo {
    this.#env.resetReadTxn()
    const { tail } = this.#tail()
    const { removed } = this.#removed()
    const first = this.#first()
    return {
      firstSeq: first?.seq ?? tail.next,
      lastSeq: tail.next - 1,
      messages: tail.messages - removed.messages,
      bytes: tail.bytes - removed.bytes,
      maxBytes: this.#maxBytes,
      oldestMs: first?.timeMs,
    }
  }

  #first(): { seq: number; timeMs: number } | undefined {
    for (const { key, value } of this.#index.getRange({ start: 0, limit: 1 })) {
      return { seq: key, timeMs: readIndex(value).timeMs }
    }
    return undefined
  }

  #tail(): { tail: Tail; version: number } {
    const { value, version } = this.#head('tail')
    return {
      tail: {
        next: value.readDoubleLE(0),
        bytes: value.readDoubleLE(8),
        messages: value.readDoubleLE(16),
      },
      version,
    }
  }

  #removed(): { removed: Removed; version: number } {
    const { value, version } = this.#head('head')
    return { removed: { messages: value.readDoubleLE(0), bytes: value.readDoubleLE(8) }, version }
  }

  #head(name: 'tail' | 'head'): { value: Buffer; version: number } {
    const entry = this.#heads.getEntry(name)
    if (entry?.version === undefined) throw retry('WAL_UNAVAILABLE', `the WAL has lost its ${name} record`)
    return { value: entry.value, version: entry.version }
  }
}

/** Records as they are; read, they are copied once, out of the map. (lmdb-js' types leave `encoder` out, its README has it.) */
const MESSAGES = {
  name: 'messages',
  encoder: {
    encode: (record: Buffer) => record,
    /** `source` may be longer than the record, whatever its `length` says. */
    decode(source: Uint8Array, bytes: number): Buffer {
      const record = POOL.bytes(bytes)
      record.set(new Uint8Array(source.buffer, source.byteOffset, bytes))
      return record
    },
  },
}

export interface RemoveLimit {
  readonly messages: number
  readonly bytes: number
}

/** Index entries looked at in one transaction's selection, so that a purge of a rare tenant does not stall the process. */
const SCAN_MAX = 20_000

/** A record that fails its checksum, with where it stands. */
export class CorruptRecord extends Error {
  readonly seq: number

  constructor(seq: number, cause: unknown) {
    super(`WAL message ${seq} is corrupt`, { cause })
    this.seq = seq
  }
}

function ownerIn(value: Buffer | undefined): LogOwner | undefined {
  return value && (JSON.parse(value.toString()) as LogOwner)
}

function floats(...values: number[]): Buffer {
  const target = Buffer.allocUnsafeSlow(values.length * 8)
  for (const [at, value] of values.entries()) target.writeDoubleLE(value, at * 8)
  return target
}
