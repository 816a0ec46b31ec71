import { messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import { CursorSightings } from './cursor-seen.ts'
import { firstAt } from './cursor-seek.ts'
import { listCursors } from './cursor-store.ts'
import type { DeadLetters } from './dead-letter.ts'
import { pagesPrefix } from './dedupe-pages.ts'
import type { WalDriver, WalInfo } from './driver.ts'
import type { Acquire, Hold } from './reader.ts'

export interface TrimmerOptions {
  readonly connector: string
  readonly driver: WalDriver
  readonly state: StateStore
  readonly acquire: Acquire
  readonly letters: DeadLetters
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  /** What is delivered stays this long. */
  readonly keepMs: number
  /** Cursors of this daemon's config. */
  readonly configured: () => readonly string[]
}

/** Above this share of the limit, what is delivered goes before its time. */
const PRESSURE = 0.8
/** Above this one also what its destination took and may yet lose: rather that than refuse what comes. */
const LAST_PRESSURE = 0.95
const NOTHING = { delivered: 0, proven: 0 }
const ROUND_MS = 1000
const PAUSE_MS = 5000
/** Dead letters and forgotten cursors are looked at this often. */
const TIDY_MS = 60_000
/** A cursor that no daemon has in its config any more is kept this long. */
const KEEP_CURSOR_MS = 7 * 24 * 3_600_000

/**
 * Deletes from the oldest end of the log what every configured exporter has passed and `keep` has outlived. What is
 * not delivered stays, whatever its age. One daemon does it: the lease's holder.
 */
export class Trimmer {
  readonly #options: TrimmerOptions
  readonly #sightings: CursorSightings
  readonly #ending = new AbortController()
  #running: Promise<void> | undefined
  #kick = new AbortController()

  constructor(options: TrimmerOptions) {
    this.#options = options
    this.#sightings = new CursorSightings(options.state, options.connector, options.clock)
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    this.#kick.abort()
    await this.#running
  }

  /** Something can be trimmed now: do not wait for the next round. */
  kick(): void {
    this.#kick.abort()
  }

  async #run(): Promise<void> {
    const ending = this.#ending.signal
    while (!ending.aborted) {
      try {
        const hold = await this.#options.acquire(`trimmer/${this.#options.connector}`, ending)
        if (hold !== undefined) await this.#holding(hold)
      } catch (error) {
        if (ending.aborted) return
        this.#options.log.warn({ error: messageOf(error) }, 'The trimmer pauses')
        await sleep(PAUSE_MS, ending)
      }
    }
  }

  async #holding(hold: Hold): Promise<void> {
    const ending = this.#ending.signal
    let tidiedMs = -Infinity
    try {
      while (!ending.aborted && !hold.lost.aborted) {
        this.#kick = new AbortController()
        await this.trim(hold.lost)
        if (performance.now() - tidiedMs > TIDY_MS) {
          await this.forgetCursors()
          await this.#options.letters.enforce()
          tidiedMs = performance.now()
        }
        if (!ending.aborted) await sleep(ROUND_MS, this.#kick.signal)
      }
    } finally {
      await hold.release()
    }
  }

  /** One round. Returns what the log holds then. */
  async trim(signal: AbortSignal): Promise<WalInfo> {
    const { driver, meter, connector, clock, keepMs } = this.#options
    const before = await driver.info()
    const old = clock() - keepMs
    const aged = (before.oldestMs ?? Infinity) < old
    const pressed = this.#pressedUpTo(before)
    const overdue = meter.gauge('weir_retention_overdue')
    if (!aged) overdue.set(0, { store: connector })
    if (before.messages === 0 || (!aged && pressed < before.firstSeq)) return before
    const { delivered, proven } = await this.#deliveredUpTo(before.lastSeq)
    let upTo = Math.max(
      Math.min(pressed, proven),
      Math.min(this.#pressedUpTo(before, LAST_PRESSURE), delivered),
    )
    if (aged && proven >= before.firstSeq) {
      const kept = await firstAt(driver, old, before.firstSeq, proven, signal)
      upTo = Math.max(upTo, kept - 1)
    }
    if (signal.aborted) return before
    if (aged) overdue.set(before.firstSeq > delivered ? 1 : 0, { store: connector })
    if (upTo < before.firstSeq) return before
    await driver.trim(upTo)
    meter.counter('weir_wal_trimmed_messages').add(upTo - before.firstSeq + 1, { connector })
    return driver.info()
  }

  /** How many of the oldest messages, by their mean size, are above the mark. */
  #pressedUpTo(info: WalInfo, mark = PRESSURE): number {
    const over = info.bytes - mark * info.maxBytes
    if (over <= 0) return 0
    const stored = info.lastSeq - info.firstSeq + 1
    return info.firstSeq - 1 + Math.ceil((over / info.bytes) * stored)
  }

  /**
   * The last sequence that every wanted cursor has passed; and the last one that nobody needs any more: each has also
   * noted what it passed, and no destination is yet to be asked about it. 0 when that is not known.
   */
  async #deliveredUpTo(lastSeq: number): Promise<typeof NOTHING> {
    const { configured, state, connector } = this.#options
    const mine = new Set(configured())
    // A daemon without exporters does not know who reads.
    if (mine.size === 0) return NOTHING
    let delivered = lastSeq
    let proven = lastSeq
    for (const { record } of await listCursors(state, connector)) {
      const wanted = mine.delete(record.cursor) || (await this.#isWanted(record.cursor))
      if (!wanted) continue
      delivered = Math.min(delivered, record.position - 1)
      const asked = (record.unproven?.[0]?.from ?? Infinity) - 1
      const noted = record.window?.upTo ?? Infinity
      proven = Math.min(proven, delivered, noted, asked)
    }
    return mine.size === 0 ? { delivered, proven } : NOTHING
  }

  async #isWanted(cursor: string): Promise<boolean> {
    return this.#sightings.isWanted(await this.#sightings.lastSeen(cursor))
  }

  /** Deletes the records of cursors that no daemon has wanted for a week. */
  async forgetCursors(): Promise<void> {
    const { configured, state, connector, clock } = this.#options
    const mine = new Set(configured())
    for (const { record, entry } of await listCursors(state, connector)) {
      if (mine.has(record.cursor)) continue
      const seenMs = Math.max(await this.#sightings.lastSeen(record.cursor), record.updatedMs)
      if (clock() - seenMs <= KEEP_CURSOR_MS) continue
      // Not deleted: a daemon has just taken it up again.
      if (!(await state.delete(entry.key, entry.revision))) continue
      await this.#sightings.forget(record.cursor)
      await state.forget(pagesPrefix(connector, record.cursor))
    }
  }
}
