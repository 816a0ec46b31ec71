import { messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import { CursorSightings } from './cursor-seen.ts'
import { firstAt } from './cursor-seek.ts'
import { listCursors } from './cursor-store.ts'
import type { DeadLetters } from './dead-letter.ts'
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
const CALM_MS = 10_000
const PRESSED_MS = 1000
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
        await sleep(CALM_MS / 2, ending)
      }
    }
  }

  async #holding(hold: Hold): Promise<void> {
    const ending = this.#ending.signal
    try {
      while (!ending.aborted && !hold.lost.aborted) {
        const info = await this.trim(hold.lost)
        await this.#options.letters.enforce()
        this.#kick = new AbortController()
        if (ending.aborted) return
        await sleep(info.bytes > PRESSURE * info.maxBytes ? PRESSED_MS : CALM_MS, this.#kick.signal)
      }
    } finally {
      await hold.release()
    }
  }

  /** One round. Returns what the log holds then. */
  async trim(signal: AbortSignal): Promise<WalInfo> {
    const { driver, meter, connector, clock, keepMs } = this.#options
    const before = await driver.info()
    const delivered = await this.#deliveredUpTo()
    if (delivered === undefined || before.messages === 0) return before
    const end = Math.min(delivered, before.lastSeq)
    const aged = await this.#agedUpTo(before, clock() - keepMs, signal)
    meter.gauge('weir_retention_overdue').set(aged > end ? 1 : 0, { store: connector })
    const upTo = Math.min(end, Math.max(aged, this.#pressedUpTo(before)))
    if (upTo < before.firstSeq || signal.aborted) return before
    await driver.trim(upTo)
    const after = await driver.info()
    meter.counter('weir_wal_trimmed_messages').add(Math.max(0, upTo - before.firstSeq + 1), { connector })
    return after
  }

  /** The last sequence that `keep` has outlived. */
  async #agedUpTo(info: WalInfo, old: number, signal: AbortSignal): Promise<number> {
    if ((info.oldestMs ?? Infinity) >= old) return info.firstSeq - 1
    return (await firstAt(this.#options.driver, old, info.firstSeq, info.lastSeq, signal)) - 1
  }

  /** How many of the oldest messages, by their mean size, are above the mark. */
  #pressedUpTo(info: WalInfo): number {
    const over = info.bytes - PRESSURE * info.maxBytes
    if (over <= 0) return 0
    const stored = info.lastSeq - info.firstSeq + 1
    return info.firstSeq - 1 + Math.ceil((over / info.bytes) * stored)
  }

  /** The last sequence that every wanted cursor has passed; undefined when that is not known. */
  async #deliveredUpTo(): Promise<number | undefined> {
    const { configured, state, connector, clock } = this.#options
    const mine = new Set(configured())
    // A daemon without exporters does not know who reads.
    if (mine.size === 0) return undefined
    let least = Infinity
    for (const { record, entry } of await listCursors(state, connector)) {
      const seenMs = mine.delete(record.cursor) ? clock() : await this.#sightings.lastSeen(record.cursor)
      if (this.#sightings.isWanted(seenMs)) {
        least = Math.min(least, record.position - 1)
      } else if (clock() - Math.max(seenMs, record.updatedMs) > KEEP_CURSOR_MS) {
        await state.delete(entry.key, entry.revision)
        await this.#sightings.forget(record.cursor)
      }
    }
    return mine.size === 0 ? least : undefined
  }
}
