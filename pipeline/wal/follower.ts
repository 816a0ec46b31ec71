import type { Follower, FollowedBatch } from '../follower.ts'
import { CursorSightings } from './cursor-seen.ts'
import { HeldCursor, listCursors } from './cursor-store.ts'
import { CursorTurns } from './cursor-turns.ts'
import { DEDUPE_DEFAULTS } from './dedupe.ts'
import { rebuildWindow } from './dedupe-rebuild.ts'
import { LogClock } from './log-clock.ts'
import { follow, withDeadline } from './reader-deadline.ts'
import { prepare, type PreparedRange } from './reader-prepare.ts'
import { RangeSource, type RawRange } from './reader-source.ts'
import type { Hold, ReaderOptions, ReaderView } from './reader.ts'

export type FollowerOptions = Pick<
  ReaderOptions,
  'connector' | 'driver' | 'state' | 'acquire' | 'log' | 'clock' | 'dedupe' | 'backoffMs'
>

/** A follower need not wait for full ranges: it delivers nothing. */
const BATCHING = { maxSpans: 8192, maxBytes: 8 * 1024 * 1024, maxWaitMs: 20 }
/** How often a follower hears that nothing comes. */
const QUIET_MS = 500

/**
 * Reads the log in order for somebody who delivers nothing: one daemon at a time, by a lease; from a position that is
 * saved by compare-and-set; without duplicates; through the processors that stand before.
 */
export class LogFollower {
  readonly #follower: Follower
  readonly #options: FollowerOptions
  readonly #ending = new AbortController()
  #running: Promise<void> | undefined
  #held: HeldCursor | undefined
  readonly #turns: CursorTurns

  constructor(follower: Follower, options: FollowerOptions) {
    this.#follower = follower
    this.#options = options
    this.#turns = new CursorTurns(follower.cursor, 'follower', options)
  }

  start(): void {
    this.#running ??= this.#turns.run(this.#ending.signal, (hold) => this.#holding(hold))
  }

  /** What is not saved is read again by the next holder. */
  async stop(): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  view(): ReaderView {
    const { cursor, pipeline, name } = this.#follower
    const record = this.#held?.record
    return {
      cursor,
      pipeline,
      exporterId: name,
      held: record !== undefined,
      record,
      failing: this.#turns.failing,
    }
  }

  async #holding(hold: Hold): Promise<void> {
    const reading = new AbortController()
    const unlink = [follow(this.#ending.signal, reading), follow(hold.lost, reading)]
    try {
      const { state, connector, clock } = this.#options
      this.#held = await HeldCursor.take(state, connector, this.#follower.cursor, hold.fence, clock)
      await this.#drive(this.#held, reading.signal)
    } finally {
      for (const drop of unlink) drop()
      reading.abort()
      this.#held = undefined
    }
  }

  async #drive(held: HeldCursor, reading: AbortSignal): Promise<void> {
    const { driver, dedupe = DEDUPE_DEFAULTS, state } = this.#options
    await this.#turns.checkPosition(held, reading)
    const { worker } = this.#follower
    await worker.begin({
      record: () => held.record,
      save: (change) => held.save(change, reading),
      state,
      passed: () => this.#passed(),
      signal: reading,
    })
    const { position } = held.record
    const isMine = (cursor: string) => this.#follower.behind.includes(cursor)
    const { window } = await rebuildWindow(driver, position, reading, { isMine, limits: dedupe })
    if (reading.aborted) return
    const source = new RangeSource(driver, position, window, BATCHING, isMine)
    try {
      await this.#follow(source, reading)
    } finally {
      await source.close()
    }
  }

  /** A cursor that no daemon has in its config any more holds up nobody. */
  async #passed(): Promise<number> {
    const { state, connector, clock } = this.#options
    const { pipeline, cursor, behind } = this.#follower
    const sightings = new CursorSightings(state, connector, clock)
    let least = Infinity
    for (const { record } of await listCursors(state, connector)) {
      if (record.cursor === cursor || !record.cursor.startsWith(`${pipeline}/`)) continue
      const mine = behind.includes(record.cursor)
      if (!mine && !sightings.isWanted(await sightings.lastSeen(record.cursor))) continue
      least = Math.min(least, record.position)
    }
    return least
  }

  async #follow(source: RangeSource, reading: AbortSignal): Promise<void> {
    const clock = new LogClock()
    while (!reading.aborted) {
      const raw = await withDeadline(reading, QUIET_MS, (wait) => source.next(wait))
      if (reading.aborted) return
      if (raw === undefined) await this.#quiet(source, clock)
      else await this.#take(raw, clock)
      this.#turns.note(undefined)
    }
  }

  async #take(raw: RawRange, clock: LogClock): Promise<void> {
    const range = await prepare(raw, this.#follower.process)
    clock.saw(raw.lastMs)
    await this.#follower.worker.take(followed(range), raw.to, raw.lastMs)
  }

  /** The bound is taken first: what the log takes after it was asked comes after the bound. */
  async #quiet(source: RangeSource, clock: LogClock): Promise<void> {
    const boundMs = clock.atLeast()
    const { lastSeq } = await this.#options.driver.info()
    if (lastSeq <= source.last) await this.#follower.worker.quiet(source.last, boundMs)
  }
}

function followed(range: PreparedRange): FollowedBatch[] {
  return range.batches.flatMap(({ batch, members: [first] }) =>
    first === undefined ? [] : [{ batch, seq: first.seq, walMs: first.timeMs }],
  )
}
