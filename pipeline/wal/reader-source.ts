import { messageOf, faultOf } from '../fault.ts'
import type { Batching } from '../component.ts'
import type { DedupeWindow } from './dedupe.ts'
import type { WalDriver, WalMessage, WalPort } from './driver.ts'
import { decodeEnvelope, type Member } from './envelope.ts'
import { withDeadline } from './reader-deadline.ts'

/** A member that is no duplicate, and where it rests. */
export interface SourceMember {
  readonly member: Member
  readonly tenant: string
  readonly seq: number
  /** When the log took its message. */
  readonly timeMs: number
  /** Message-wide index of its row 0. */
  readonly row: number
}

/** A message that cannot be read; its spans are unknown. */
export interface Damaged {
  readonly seq: number
  readonly tenant: string
  readonly reason: string
  readonly bytes: Uint8Array
}

/** Sequences that the log has no message for: lost by it, or deleted in it. */
export interface Missing {
  readonly from: number
  readonly to: number
}

/** A message, and the number of sightings that the window has counted with it. */
export interface Mark {
  readonly seq: number
  /** 0: damaged. */
  readonly timeMs: number
  readonly seen: number
}

/** Whole messages `from` to `to`, as read; what is missing before one belongs to it. */
export interface RawRange {
  readonly from: number
  readonly to: number
  readonly members: readonly SourceMember[]
  readonly damaged: readonly Damaged[]
  readonly missing: readonly Missing[]
  /** Its messages, in order. */
  readonly marks: readonly Mark[]
  /** Spans in all members, duplicates included. */
  readonly spans: number
  readonly duplicates: number
  readonly bytes: number
  /** WAL time of the first message. */
  readonly firstMs: number
  /** WAL time of the last one. */
  readonly lastMs: number
}

export const BATCHING_DEFAULTS: Batching = { maxSpans: 8192, maxBytes: 8 * 1024 * 1024, maxWaitMs: 200 }

/** One wait for the next message; drivers get signals of short life (see `withDeadline`). */
const IDLE_MS = 60_000
/** Longest wait for a message of a frozen range before looking whether it was purged. */
const PURGE_CHECK_MS = 1000

interface Opened {
  readonly seq: number
  readonly missing: Missing | undefined
  readonly timeMs: number
  readonly members: readonly SourceMember[]
  readonly damaged: readonly Damaged[]
  readonly seen: number
  readonly spans: number
  readonly duplicates: number
  readonly bytes: number
}

/** Cuts the log into ranges: messages in order, without the members that were passed before. */
export class RangeSource {
  readonly #driver: WalDriver
  readonly #port: WalPort
  readonly #window: DedupeWindow
  readonly #limits: Batching
  readonly #isMine: (cursor: string) => boolean
  readonly #end: number
  #pending: Opened[] = []
  /** Sequence of the newest message read. */
  #last: number

  /** `isMine`: whether this reader is meant by what one cursor alone reads. `end`: the last sequence to read. */
  constructor(
    driver: WalDriver,
    position: number,
    window: DedupeWindow,
    limits: Batching,
    isMine: (cursor: string) => boolean,
    end = Infinity,
  ) {
    this.#driver = driver
    this.#port = driver.reader(position)
    this.#window = window
    this.#limits = limits
    this.#isMine = isMine
    this.#end = end
    this.#last = position - 1
  }

  /** Sequence of the newest message that was read; before the first one, that before the position. */
  get last(): number {
    return this.#last
  }

  /** The next range by the exporter's limits: at least one message. Undefined when `signal` aborts, and behind the end. */
  async next(signal: AbortSignal): Promise<RawRange | undefined> {
    while (this.#pending.length === 0) {
      if (signal.aborted || this.#last >= this.#end) return undefined
      await withDeadline(signal, IDLE_MS, (wait) => this.#read(wait, this.#limits.maxBytes))
    }
    const taken: Opened[] = []
    let spans = 0
    let bytes = 0
    const full = () => spans >= this.#limits.maxSpans || bytes >= this.#limits.maxBytes
    const deadline = performance.now() + this.#limits.maxWaitMs
    for (;;) {
      for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
        const fits =
          spans + first.spans <= this.#limits.maxSpans && bytes + first.bytes <= this.#limits.maxBytes
        if (taken.length > 0 && !fits) return toRange(taken)
        this.#pending.shift()
        taken.push(first)
        spans += first.spans
        bytes += first.bytes
      }
      const left = deadline - performance.now()
      if (full() || left <= 0 || signal.aborted || this.#last >= this.#end) return toRange(taken)
      await withDeadline(signal, Math.ceil(left), (wait) => this.#read(wait, this.#limits.maxBytes - bytes))
    }
  }

  /**
   * Exactly the messages of a frozen range that still exist; undefined when `signal` aborts. What is missing was
   * purged, and only the log itself may say so: a slow answer must not shorten the range.
   */
  async exactly(from: number, to: number, signal: AbortSignal): Promise<RawRange | undefined> {
    const taken: Opened[] = []
    for (;;) {
      for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
        if (first.seq > to) return toRange(taken, from, to)
        this.#pending.shift()
        taken.push(first)
        if (first.seq === to) return toRange(taken, from, to)
      }
      const before = this.#pending.length
      await withDeadline(signal, PURGE_CHECK_MS, (wait) => this.#read(wait, this.#limits.maxBytes))
      if (signal.aborted) return undefined
      if (this.#pending.length === before && (await this.#nothingUpTo(to))) return toRange(taken, from, to)
    }
  }

  /** The next messages up to `to`, by the limits of size. Undefined when there are none left, or `signal` aborts. */
  async upTo(to: number, signal: AbortSignal): Promise<RawRange | undefined> {
    const taken: Opened[] = []
    let spans = 0
    let bytes = 0
    const done = () => (taken.length === 0 ? undefined : toRange(taken))
    for (;;) {
      for (let first = this.#pending[0]; first !== undefined; first = this.#pending[0]) {
        const fits =
          spans + first.spans <= this.#limits.maxSpans && bytes + first.bytes <= this.#limits.maxBytes
        if (first.seq > to || (taken.length > 0 && !fits)) return done()
        this.#pending.shift()
        taken.push(first)
        spans += first.spans
        bytes += first.bytes
      }
      if (this.#last >= to) return done()
      const before = this.#last
      await withDeadline(signal, PURGE_CHECK_MS, (wait) => this.#read(wait, this.#limits.maxBytes))
      if (signal.aborted) return undefined
      if (this.#last === before && (await this.#nothingUpTo(to))) return done()
    }
  }

  async #nothingUpTo(to: number): Promise<boolean> {
    return !(await this.#driver.holds(this.#last + 1, to))
  }

  async #read(signal: AbortSignal, maxBytes: number): Promise<void> {
    try {
      for (const message of await this.#port.next(maxBytes, signal)) {
        const missing = between(this.#last, message.lost === true ? message.seq + 1 : message.seq)
        this.#last = message.seq
        if (message.seq <= this.#end) this.#pending.push(this.#open(message, missing))
      }
    } catch (error) {
      if (faultOf(error)?.code !== 'WAL_CORRUPT') throw error
      // The driver says so once and goes on behind the message.
      this.#last++
      this.#pending.push(this.#unreadable(this.#last, '', messageOf(error), new Uint8Array()))
    }
  }

  #open(message: WalMessage, missing: Missing | undefined): Opened {
    const { seq, tenant, timeMs } = message
    const { bytes } = message
    let members: Member[]
    try {
      members = decodeEnvelope(bytes, seq)
    } catch (error) {
      if (faultOf(error)?.code !== 'WAL_CORRUPT') throw error
      return { ...this.#unreadable(seq, tenant, messageOf(error), bytes), missing }
    }
    const fresh: SourceMember[] = []
    let row = 0
    let spans = 0
    let duplicates = 0
    for (const member of members) {
      if (member.only === undefined || this.#isMine(member.only)) {
        if (this.#window.pass(tenant, member, timeMs)) duplicates += member.spans
        else fresh.push({ member, tenant, seq, timeMs, row })
        spans += member.spans
      }
      row += member.spans
    }
    const { end: seen } = this.#window
    return { seq, missing, timeMs, bytes: bytes.length, members: fresh, damaged: [], seen, spans, duplicates }
  }

  #unreadable(seq: number, tenant: string, reason: string, bytes: Uint8Array): Opened {
    return {
      seq,
      missing: undefined,
      timeMs: 0,
      bytes: bytes.length,
      members: [],
      damaged: [{ seq, tenant, reason, bytes }],
      seen: this.#window.end,
      spans: 0,
      duplicates: 0,
    }
  }

  async close(): Promise<void> {
    this.#pending = []
    await this.#port.close()
  }
}

function joined(gaps: readonly (Missing | undefined)[]): Missing[] {
  const all: Missing[] = []
  for (const gap of gaps) {
    const last = all.at(-1)
    if (gap === undefined) continue
    if (last?.to === gap.from - 1) all[all.length - 1] = { from: last.from, to: gap.to }
    else all.push(gap)
  }
  return all
}

/** What lies between two sequences, both excluded. */
function between(before: number, after: number): Missing | undefined {
  return after - before > 1 ? { from: before + 1, to: after - 1 } : undefined
}

/** A frozen range knows its ends: what is missing at its end has no message behind it. */
function toRange(taken: readonly Opened[], from?: number, to?: number): RawRange {
  const first = taken[0]
  const start = from ?? first?.missing?.from ?? first?.seq ?? 0
  const end = to ?? taken.at(-1)?.seq ?? 0
  return {
    from: start,
    to: end,
    missing: joined([
      ...taken.map(({ missing }) => missing),
      between(taken.at(-1)?.seq ?? start - 1, end + 1),
    ]),
    members: taken.flatMap((message) => message.members),
    damaged: taken.flatMap((message) => message.damaged),
    marks: taken.map(({ seq, timeMs, seen }) => ({ seq, timeMs, seen })),
    spans: taken.reduce((sum, message) => sum + message.spans, 0),
    duplicates: taken.reduce((sum, message) => sum + message.duplicates, 0),
    bytes: taken.reduce((sum, message) => sum + message.bytes, 0),
    firstMs: taken[0]?.timeMs ?? 0,
    lastMs: taken.at(-1)?.timeMs ?? 0,
  }
}
