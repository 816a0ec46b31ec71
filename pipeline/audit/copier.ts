import { messageOf } from '../fault.ts'
import { sleep } from '../sleep.ts'
import { acquireLease } from '../state/lease.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import { linkOf } from './line.ts'
import { linesAfter, readHead } from './reader.ts'

export interface CopyRange {
  readonly log: string
  /** Number of the first line. */
  readonly first: number
  /** All of one month (UTC), which is the unit that the copy holds whole. */
  readonly lines: readonly string[]
}

/** A store that keeps a copy of the log to be queried. */
export interface AuditCopy {
  /** Names the copy among those of all daemons of a state store: who copies holds a lease of this name. */
  readonly place: string
  /** The highest number of this log that is there; 0: none. */
  last(log: string, signal: AbortSignal): Promise<number>
  /** Stores the range, once however often and by however many it is called for the same one. */
  store(range: CopyRange, signal: AbortSignal): Promise<void>
}

export interface CopierOptions {
  readonly state: StateStore
  readonly log: Log
  readonly meter: Meter
  /** Name in leases. */
  readonly holder: string
  /** Those that are open now. */
  readonly copies: () => readonly AuditCopy[]
  /** How often to look for new entries. Default 2 s. */
  readonly everyMs?: number
}

const EVERY_MS = 2000
const ROWS = 1000

/** Copies the log to where it can be queried: behind it by seconds, in one daemon at a time, each entry once. */
export class AuditCopier {
  readonly #options: CopierOptions
  readonly #stopping = new AbortController()
  readonly #working = new Map<string, Promise<void>>()
  #looking: Promise<void> | undefined
  readonly #told = new Map<string, string>()

  constructor(options: CopierOptions) {
    this.#options = options
  }

  start(): void {
    this.#looking ??= this.#look()
  }

  async stop(): Promise<void> {
    this.#stopping.abort()
    await this.#looking
    await Promise.all(this.#working.values())
  }

  async #look(): Promise<void> {
    const { signal } = this.#stopping
    const everyMs = this.#options.everyMs ?? EVERY_MS
    while (!signal.aborted) {
      for (const { place } of this.#options.copies()) {
        if (this.#working.has(place)) continue
        const work = this.#work(place).finally(() => this.#working.delete(place))
        this.#working.set(place, work)
      }
      await sleep(everyMs, signal)
    }
  }

  /** Until the copy is gone from the config, or another daemon has the lease. */
  async #work(place: string): Promise<void> {
    const { state, holder, everyMs = EVERY_MS } = this.#options
    const lease = await acquireLease(state, `audit-copy ${place}`, holder, { signal: this.#stopping.signal })
    if (lease === undefined) return
    const signal = AbortSignal.any([lease.lost, this.#stopping.signal])
    try {
      while (!signal.aborted) {
        const copy = this.#options.copies().find((each) => each.place === place)
        if (copy === undefined) return
        if (await this.#step(copy, signal)) continue
        await sleep(everyMs, signal)
      }
    } catch (error) {
      if (!signal.aborted) this.#tell(place, messageOf(error))
      await sleep(everyMs, this.#stopping.signal)
    } finally {
      await lease.release()
    }
  }

  /** Once as long as it is the same. */
  #tell(place: string, error: string): void {
    if (this.#told.get(place) === error) return
    this.#told.set(place, error)
    this.#options.log.warn({ error, place }, 'The audit log is not copied now')
  }

  /** One range; false when there is nothing new. */
  async #step(copy: AuditCopy, signal: AbortSignal): Promise<boolean> {
    const { state, meter } = this.#options
    const read = await readHead(state)
    if (read === undefined) return false
    const { head } = read
    const last = await copy.last(head.log, signal)
    meter.gauge('weir_audit_copy_lag').set(Math.max(0, head.size - last))
    if (last >= head.size) return false
    const range = await this.#frozen(copy.place, head.log, last, async (to) => {
      const lines: string[] = []
      let first = 0
      for await (const run of linesAfter(state, head, last)) {
        first ||= run.first
        for (const [at, line] of run.lines.entries()) {
          const isOver = to === undefined ? isNext(lines, line) : run.first + at > to
          if (isOver) return { log: head.log, first, lines }
          lines.push(line)
        }
      }
      return { log: head.log, first, lines }
    })
    if (range === undefined || range.lines.length === 0) return false
    await copy.store(range, signal)
    return true
  }

  /**
   * What is inserted is written down before: whoever goes on after a crash, or while a predecessor's insert still runs,
   * repeats exactly that range, which the copy then takes once.
   */
  async #frozen(
    place: string,
    log: string,
    last: number,
    cut: (to: number | undefined) => Promise<CopyRange>,
  ): Promise<CopyRange | undefined> {
    const { state } = this.#options
    const key = stateKey('audit', 'copy', place)
    const entry = await state.get(key)
    const before = entry && (JSON.parse(Buffer.from(entry.value).toString()) as Frozen)
    if (before?.log === log && before.from === last + 1) return cut(before.to)
    const range = await cut(undefined)
    const frozen: Frozen = { v: 1, log, from: last + 1, to: range.first + range.lines.length - 1 }
    const value = Buffer.from(JSON.stringify(frozen))
    const written =
      entry === undefined ? await state.create(key, value) : await state.update(key, value, entry.revision)
    return written === undefined ? undefined : range
  }
}

interface Frozen {
  readonly v: 1
  readonly log: string
  readonly from: number
  readonly to: number
}

/** The line belongs to the next range: that is full, or of another month. */
function isNext(lines: readonly string[], line: string): boolean {
  const [first] = lines
  return first !== undefined && (lines.length >= ROWS || monthOf(first) !== monthOf(line))
}

function monthOf(line: string): string {
  return linkOf(line)?.time?.slice(0, 7) ?? ''
}
