import { faultOf, messageOf, retry, type Fault } from '../fault.ts'
import { sleep } from '../sleep.ts'
import { newEpoch } from './cursor-record.ts'
import { firstAt, peek } from './cursor-seek.ts'
import type { HeldCursor } from './cursor-store.ts'
import { Backoff } from './reader-backoff.ts'
import type { Hold, ReaderOptions, ReaderView } from './reader.ts'

export type TurnOptions = Pick<
  ReaderOptions,
  'connector' | 'driver' | 'acquire' | 'log' | 'clock' | 'backoffMs'
>

/** What operators read of who drives a cursor. */
const NAMES = { cursor: 'A cursor', follower: 'A follower of the WAL' } as const

/** Waits for the right to drive a cursor, and has it driven, again and again; remembers what keeps it from moving. */
export class CursorTurns {
  readonly #cursor: string
  readonly #driven: keyof typeof NAMES
  readonly #options: TurnOptions
  #failing: ReaderView['failing']

  constructor(cursor: string, driven: keyof typeof NAMES, options: TurnOptions) {
    this.#cursor = cursor
    this.#driven = driven
    this.#options = options
  }

  get failing(): ReaderView['failing'] {
    return this.#failing
  }

  /** Until `ending` aborts. `holding` has the lease until it settles. */
  async run(ending: AbortSignal, holding: (hold: Hold) => Promise<void>): Promise<void> {
    const { acquire, connector, backoffMs = [1000, 5000] } = this.#options
    const backoff = new Backoff(...backoffMs)
    while (!ending.aborted) {
      try {
        const hold = await acquire(`${connector}/${this.#cursor}`, ending)
        if (hold === undefined) continue
        await this.#within(hold, holding)
        backoff.reset()
      } catch (error) {
        if (ending.aborted) return
        this.#complain(error)
        await sleep(backoff.nextMs(), ending)
      }
    }
  }

  /** A lease that is released counts as lost, too: why the work ended is judged before. */
  async #within(hold: Hold, holding: (hold: Hold) => Promise<void>): Promise<void> {
    try {
      await holding(hold)
    } catch (error) {
      throw hold.lost.aborted && isAbort(error, hold.lost) ? leaseLost(this.#cursor, error) : error
    } finally {
      await hold.release()
    }
  }

  /** What the driving came to; undefined: all is well. */
  note(error: unknown): void {
    if (error === undefined) this.#failing = undefined
    else
      this.#failing = { sinceMs: this.#failing?.sinceMs ?? this.#options.clock(), message: messageOf(error) }
  }

  /**
   * A log that ends before the cursor has lost its end, or was made anew. The driver fills up what was lost before it takes more
   * (`guard`), so that the cursor only waits; messages that came later than the cursor's last step are new ones, and
   * waiting for the log to catch up would skip them.
   */
  async checkPosition(held: HeldCursor, signal: AbortSignal): Promise<void> {
    const { position, cursor, updatedMs } = held.record
    const { driver, log } = this.#options
    const info = await driver.info()
    if (position <= info.lastSeq + 1) return
    const fields = { cursor, position, last_seq: info.lastSeq }
    const newest =
      info.messages === 0
        ? info.lastSeq + 1
        : await firstAt(driver, updatedMs, info.firstSeq, info.lastSeq, signal)
    // A filler at the end: the driver is about it.
    if (newest > info.lastSeq || (await peek(driver, info.lastSeq, signal))?.lost === true) {
      log.error(fields, 'The WAL ends before what was read of it: it has lost its end')
      return
    }
    log.error(fields, `The WAL is not the one that this ${this.#driven} was on; reading what is new in it`)
    const start = {
      frozen: undefined,
      unproven: undefined,
      window: undefined,
      data: undefined,
      position: newest,
      epoch: newEpoch(),
    }
    await held.save(start, signal)
  }

  #complain(error: unknown): void {
    const { log } = this.#options
    const fields = { cursor: this.#cursor, error: messageOf(error), code: faultOf(error)?.code }
    if (faultOf(error)?.code === 'LEASE_LOST') return log.info(fields, 'Standing by')
    this.note(error)
    if (faultOf(error)?.verdict.do === 'retry') log.warn(fields, `${NAMES[this.#driven]} pauses`)
    else log.error({ ...fields, err: error }, `${NAMES[this.#driven]} stands still`)
  }
}

function isAbort(error: unknown, signal: AbortSignal): boolean {
  return error === signal.reason || (error instanceof Error && error.name === 'AbortError')
}

/** What was under way ends with the abort of its signal, which says nothing to an operator. */
function leaseLost(cursor: string, cause: unknown): Fault {
  return retry('LEASE_LOST', `the lease of ${cursor} could not be renewed in time`, undefined, { cause })
}
