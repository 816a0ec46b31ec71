import { setImmediate as nextTurn } from 'node:timers/promises'
import type { StoreChain } from '../factory.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import { rangeToken, type CursorRecord, type FrozenRecord } from './cursor-record.ts'
import { HeldCursor } from './cursor-store.ts'
import { CursorTurns } from './cursor-turns.ts'
import type { DeadLetters } from './dead-letter.ts'
import { DEDUPE_DEFAULTS, type DedupeLimits } from './dedupe.ts'
import { DedupeJournal } from './dedupe-journal.ts'
import { readPages } from './dedupe-pages.ts'
import { rebuildWindow, type Rebuilt } from './dedupe-rebuild.ts'
import type { WalDriver } from './driver.ts'
import { addLedger, type Ledger } from './ledger.ts'
import { Backoff } from './reader-backoff.ts'
import { Deliverer } from './reader-deliver.ts'
import { LetterWriter } from './reader-letters.ts'
import { follow, settledWithin, unlessAborted } from './reader-deadline.ts'
import { prepare, release, type PreparedRange } from './reader-prepare.ts'
import { ReaderMetrics } from './reader-metrics.ts'
import { Rechecks } from './recheck.ts'
import { BATCHING_DEFAULTS, RangeSource, type RawRange } from './reader-source.ts'

/** The right to drive a cursor, until `lost` aborts or it is released. */
export interface Hold {
  /** Grows with every holder. */
  readonly fence: number
  readonly lost: AbortSignal
  release(): Promise<void>
}

/** Waits for the right; undefined when `signal` aborts. */
export type Acquire = (name: string, signal: AbortSignal) => Promise<Hold | undefined>

export interface ReaderOptions {
  /** Id of the connector: names its cursors and dead letters in state. */
  readonly connector: string
  readonly driver: WalDriver
  readonly state: StateStore
  readonly acquire: Acquire
  readonly letters: DeadLetters
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  /** Spans of a full WAL that this exporter has not seen are given up: `when_full: skip`. */
  readonly mustSkip?: (chain: StoreChain, from: number) => Promise<boolean>
  readonly dedupe?: DedupeLimits
  /** Deadline of one call of the exporter; default 2 minutes. */
  readonly deliverTimeoutMs?: number
  /** First and longest wait between repeats; default 1 s and 30 s. */
  readonly backoffMs?: readonly [first: number, cap: number]
}

const DELIVER_TIMEOUT_MS = 120_000

/** What can be said of a chain at any time, for lag and health. */
export interface ReaderView {
  readonly cursor: string
  readonly pipeline: string
  readonly exporterId: string
  /** This daemon drives the cursor. */
  readonly held: boolean
  readonly record: CursorRecord | undefined
  /** What the destination or the stores last said, and since when; undefined: all is well. */
  readonly failing: { readonly sinceMs: number; readonly message: string } | undefined
}

/**
 * Drives one chain along the log: waits for the lease, repeats what was frozen, then reads, freezes, delivers and
 * advances, until it is stopped or the lease is lost. While one range is delivered the next one is read and prepared.
 */
export class ChainReader {
  readonly #options: ReaderOptions
  readonly #chain: StoreChain
  readonly #deliverer: Deliverer
  readonly #rechecks: Rechecks
  readonly #metrics: ReaderMetrics
  /** Ends reading; the delivery in flight goes on. */
  readonly #ending = new AbortController()
  /** Ends the delivery in flight too. */
  readonly #ended = new AbortController()
  #running: Promise<void> | undefined
  #held: HeldCursor | undefined
  readonly #turns: CursorTurns
  /** Processors refused the last range, so that a new turn by itself is no sign that all is well. */
  #isStuck = false

  constructor(chain: StoreChain, options: ReaderOptions) {
    this.#chain = chain
    this.#options = options
    this.#turns = new CursorTurns(chain.cursor, 'cursor', options)
    this.#metrics = new ReaderMetrics(chain, options.meter)
    const { letters, connector, log, mustSkip, deliverTimeoutMs = DELIVER_TIMEOUT_MS } = options
    this.#deliverer = new Deliverer({
      chain,
      letters: new LetterWriter(letters, { cursor: chain.cursor, exporter: chain.exporterId, connector }),
      log,
      timeoutMs: deliverTimeoutMs,
      backoff: new Backoff(...(options.backoffMs ?? [])),
      mustSkip: async ({ raw }) => (await mustSkip?.(chain, raw.from)) ?? false,
      onReceipt: (receipt) => this.#rechecks.note(receipt),
      onResult: (error) => this.#turns.note(error),
    })
    const { driver, state, meter, clock, dedupe = DEDUPE_DEFAULTS } = options
    const shared = { chain, connector, driver, state, dedupe, log, meter, clock, timeoutMs: deliverTimeoutMs }
    this.#rechecks = new Rechecks({ ...shared, deliverer: this.#deliverer })
  }

  start(): void {
    this.#running ??= this.#turns.run(this.#ending.signal, (hold) => this.#holding(hold))
  }

  /** Finishes the delivery in flight; at the deadline it is given up and stays frozen for the next holder. */
  async stop(deadline: AbortSignal): Promise<void> {
    this.#ending.abort()
    const giveUp = () => this.#ended.abort()
    deadline.addEventListener('abort', giveUp)
    if (deadline.aborted) giveUp()
    await this.#running
    deadline.removeEventListener('abort', giveUp)
  }

  view(): ReaderView {
    const { cursor, pipeline, exporterId } = this.#chain
    const record = this.#held?.record
    return { cursor, pipeline, exporterId, held: record !== undefined, record, failing: this.#turns.failing }
  }

  async #holding(hold: Hold): Promise<void> {
    const reading = new AbortController()
    const delivering = new AbortController()
    const unlink = [
      follow(this.#ending.signal, reading),
      follow(this.#ended.signal, delivering),
      follow(hold.lost, reading, delivering),
    ]
    try {
      const { state, connector, clock } = this.#options
      this.#held = await HeldCursor.take(state, connector, this.#chain.cursor, hold.fence, clock)
      this.#metrics.held(true)
      await this.#drive(this.#held, reading.signal, delivering.signal)
    } finally {
      for (const drop of unlink) drop()
      reading.abort()
      delivering.abort()
      this.#held = undefined
      this.#metrics.held(false)
    }
  }

  async #drive(held: HeldCursor, reading: AbortSignal, delivering: AbortSignal): Promise<void> {
    const { driver } = this.#options
    await this.#turns.checkPosition(held, delivering)
    // Cut short as it was repaired: it is still in the record as unproven.
    if (held.record.frozen?.again === true) await held.save({ frozen: undefined }, delivering)
    const { position, frozen } = held.record
    const isMine = (cursor: string) => cursor === this.#chain.cursor
    const rebuilt = await this.#rebuild(held, isMine, reading)
    if (reading.aborted) return
    const journal = new DedupeJournal(held, rebuilt, this.#options, delivering)
    await journal.begin()
    if (!this.#isStuck) this.#turns.note(undefined)
    const batching = this.#chain.exporter.batching ?? BATCHING_DEFAULTS
    const source = new RangeSource(driver, frozen?.from ?? position, rebuilt.window, batching, isMine)
    try {
      const done =
        frozen === undefined || (await this.#repeat(held, frozen, source, journal, reading, delivering))
      if (!done) return
      await this.#follow(held, source, journal, reading, delivering)
    } finally {
      await source.close()
    }
  }

  async #rebuild(
    { record }: HeldCursor,
    isMine: (cursor: string) => boolean,
    reading: AbortSignal,
  ): Promise<Rebuilt> {
    const { driver, dedupe: limits = DEDUPE_DEFAULTS } = this.#options
    const { position } = record
    const pages = await readPages(this.#options, record, position, limits)
    return rebuildWindow(driver, position, reading, { isMine, limits, pages })
  }

  /** Delivers again what an earlier holder froze and may have delivered. False when reading was ended before. */
  async #repeat(
    held: HeldCursor,
    frozen: FrozenRecord,
    source: RangeSource,
    journal: DedupeJournal,
    reading: AbortSignal,
    delivering: AbortSignal,
  ): Promise<boolean> {
    const raw = await source.exactly(frozen.from, frozen.to, reading)
    if (raw === undefined) return false
    const again = { ...frozen, attempt: frozen.attempt + 1 }
    if (raw.spans !== frozen.rows) {
      this.#options.log.warn(
        { cursor: held.record.cursor, from: frozen.from, to: frozen.to, spans: raw.spans, were: frozen.rows },
        'Messages of a frozen range were purged',
      )
      delete again.work
      delete again.done
    }
    await held.save({ frozen: again }, delivering)
    const range = await this.#prepare(raw, reading)
    if (range === undefined) return false
    const ledger = await this.#saving(this.#deliverer.run(range, held, delivering), journal)
    await this.#advance(held, range, ledger, undefined, delivering)
    journal.note(raw)
    return true
  }

  async #follow(
    held: HeldCursor,
    source: RangeSource,
    journal: DedupeJournal,
    reading: AbortSignal,
    delivering: AbortSignal,
  ): Promise<void> {
    let range = await this.#checking(held, this.#next(source, reading), journal, reading, delivering)
    while (range !== undefined) {
      if (needsFreeze(range) && held.record.frozen === undefined) {
        await held.save({ frozen: this.#freeze(held.record, range) }, delivering)
      }
      const delivered = this.#deliverer.run(range, held, delivering)
      let ready: PreparedRange | undefined
      // The delivery begins first: what is read ahead keeps the thread busy.
      const ahead = nextTurn()
        .then(() => this.#next(source, reading))
        .then((next) => (ready = next))
      // Both are awaited below; until then neither may count as unhandled.
      ahead.catch(() => undefined)
      const ledger = await this.#saving(delivered, journal)
      const isUnread = this.#chain.exporter.keepsNothing === true && held.record.frozen?.attempt === 0
      // A due check comes between two ranges, none of them frozen.
      const next = this.#rechecks.msUntilDue(held.record) > 0 ? ready : undefined
      await this.#advance(held, range, ledger, next, delivering)
      // A try that was given up before it ended may still read its batches.
      if (isUnread) release(range)
      journal.note(range.raw)
      range = await this.#checking(held, ahead, journal, reading, delivering)
    }
  }

  /** A delivery may take as long as its destination is away: what was passed before it is noted meanwhile. */
  async #saving<T>(delivered: Promise<T>, journal: DedupeJournal): Promise<T> {
    while (!(await settledWithin(journal.msUntilDue(), delivered))) await journal.saveIfDue()
    return delivered
  }

  /** What was read ahead; while that is awaited, and before it is delivered, what is due is saved and checked. */
  async #checking(
    held: HeldCursor,
    ahead: Promise<PreparedRange | undefined>,
    journal: DedupeJournal,
    reading: AbortSignal,
    delivering: AbortSignal,
  ): Promise<PreparedRange | undefined> {
    // Awaited at the end only.
    ahead.catch(() => undefined)
    while (!reading.aborted && held.record.frozen === undefined) {
      await journal.saveIfDue()
      const dueMs = this.#rechecks.msUntilDue(held.record)
      const waitMs = Math.min(dueMs, journal.msUntilDue())
      if (dueMs <= 0) await this.#rechecks.oldest(held, reading, delivering)
      else if (waitMs === Infinity || (await settledWithin(waitMs, ahead))) break
    }
    return await ahead
  }

  async #next(source: RangeSource, reading: AbortSignal): Promise<PreparedRange | undefined> {
    const raw = await source.next(reading)
    // Read but not frozen: the next holder reads it again.
    if (raw === undefined || reading.aborted) return undefined
    const range = await this.#prepare(raw, reading)
    if (range === undefined) return undefined
    this.#chain.exporter.stage?.(
      range.batches.filter(({ batch }) => batch.live > 0).map(({ batch }) => batch),
    )
    return range
  }

  /** A processor may wait for what is decided elsewhere: that must not hold up the end. */
  async #prepare(raw: RawRange, reading: AbortSignal): Promise<PreparedRange | undefined> {
    try {
      const range = await unlessAborted(reading, prepare(raw, this.#chain.process))
      if (this.#isStuck && range !== undefined) this.#turns.note(undefined)
      this.#isStuck &&= range === undefined
      return range
    } catch (error) {
      this.#isStuck = true
      throw error
    }
  }

  #freeze(record: CursorRecord, { raw }: PreparedRange): FrozenRecord {
    return {
      from: raw.from,
      to: raw.to,
      token: rangeToken(record, raw.from, raw.to),
      rows: raw.spans,
      attempt: 0,
      firstTryMs: this.#options.clock(),
    }
  }

  /** One write moves the cursor, books the range, and freezes the next one where it is ready. */
  async #advance(
    held: HeldCursor,
    { raw }: PreparedRange,
    booked: Ledger,
    next: PreparedRange | undefined,
    signal: AbortSignal,
  ): Promise<void> {
    const { record } = held
    const ledger = addLedger(record.ledger, booked)
    const frozen = next !== undefined && needsFreeze(next) ? this.#freeze(record, next) : undefined
    const unproven = this.#rechecks.booked(record, raw)
    const moved = { position: raw.to + 1, ledger, bytes: record.bytes + raw.bytes, frozen, unproven }
    await held.save(moved, signal)
    this.#tellMissing(record.cursor, raw)
    if (this.#metrics.advanced(held.record, booked) !== 0) {
      this.#options.log.error({ cursor: record.cursor, ledger }, 'The ledger of a cursor does not balance')
    }
  }

  #tellMissing(cursor: string, { missing }: RawRange): void {
    if (missing.length === 0) return
    this.#metrics.missing(missing.reduce((sum, { from, to }) => sum + to - from + 1, 0))
    this.#options.log.error({ cursor, missing }, 'The WAL has lost messages that this cursor had not passed')
  }
}

/** Without a live span nothing is delivered; dead letters have stable keys of their own. */
function needsFreeze(range: PreparedRange): boolean {
  return range.live > 0
}
