import type { Claim, Receipt } from '../component.ts'
import type { StoreChain } from '../factory.ts'
import { faultOf, messageOf } from '../fault.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Labels, Meter } from '../telemetry/meter.ts'
import { rangeToken, type CursorRecord, type Segment } from './cursor-record.ts'
import type { HeldCursor } from './cursor-store.ts'
import type { DedupeLimits } from './dedupe.ts'
import { readPages } from './dedupe-pages.ts'
import { rebuildWindow } from './dedupe-rebuild.ts'
import type { WalDriver } from './driver.ts'
import { Backoff } from './reader-backoff.ts'
import { boundedBy, unlessAborted } from './reader-deadline.ts'
import type { Deliverer } from './reader-deliver.ts'
import { prepare } from './reader-prepare.ts'
import { BATCHING_DEFAULTS, RangeSource, type RawRange } from './reader-source.ts'

export interface RecheckOptions {
  readonly chain: StoreChain
  readonly connector: string
  readonly driver: WalDriver
  readonly state: StateStore
  readonly deliverer: Deliverer
  readonly dedupe: DedupeLimits
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  readonly timeoutMs: number
}

/** A cursor's record holds about this many segments at most. */
const SEGMENTS = 15
/** After so many claims in vain the destination's answer says nothing about ours. */
const FALSE_ALARMS = 3

/**
 * What a destination took, it may still lose: a server that does not sync its files, with its power. Some time after the
 * delivery it is asked whether it holds the count and checksum; if not, the range is read from the log again, and the
 * exporter delivers what is missing. Until then the trimmer leaves the range.
 */
export class Rechecks {
  readonly #options: RecheckOptions
  readonly #labels: Labels
  readonly #backoff = new Backoff(1000, 60_000)
  #receipts: Receipt[] = []
  #notBefore = 0
  #falseAlarms = 0

  constructor(options: RecheckOptions) {
    this.#options = options
    this.#labels = { pipeline: options.chain.pipeline, exporter: options.chain.exporterId }
  }

  /** What an exporter says that the destination holds of the delivery under way. */
  note(receipt: Receipt): void {
    if (this.#falseAlarms < FALSE_ALARMS) this.#receipts.push(receipt)
  }

  /** The record's segments when the range is booked. */
  booked({ unproven }: CursorRecord, { from, to }: RawRange): readonly Segment[] | undefined {
    const { recheck } = this.#options.chain.exporter
    const receipts = this.#receipts
    this.#receipts = []
    if (recheck === undefined || receipts.length === 0) return unproven
    const nowMs = this.#options.clock()
    const last = unproven?.at(-1)
    const open =
      last !== undefined && nowMs - last.sinceMs < recheck.afterMs / SEGMENTS && last.to === from - 1
    const start: Segment = open
      ? last
      : { from, to, rows: 0, sum: '0', firstMs: Infinity, lastMs: 0, sinceMs: nowMs, untilMs: nowMs }
    const segment = receipts.reduce<Segment>(
      (sum, one) => ({
        ...sum,
        rows: sum.rows + one.rows,
        sum: (BigInt(`0x${sum.sum}`) ^ BigInt(`0x${one.sum}`)).toString(16),
        firstMs: Math.min(sum.firstMs, one.firstMs),
        lastMs: Math.max(sum.lastMs, one.lastMs),
      }),
      { ...start, to, untilMs: nowMs },
    )
    return [...(open ? unproven!.slice(0, -1) : (unproven ?? [])), segment]
  }

  /** Infinity: there is nothing to ask. */
  msUntilDue({ unproven }: CursorRecord): number {
    const { recheck } = this.#options.chain.exporter
    const first = unproven?.[0]
    if (recheck === undefined || first === undefined) return Infinity
    const nowMs = this.#options.clock()
    // A clock that was set back must not put it off for ever.
    const ageMs = Math.max(0, nowMs - first.untilMs)
    return Math.max(recheck.afterMs - ageMs, this.#notBefore - performance.now())
  }

  /** Asks about the oldest segment, and repairs what is not there. */
  async oldest(held: HeldCursor, reading: AbortSignal, delivering: AbortSignal): Promise<void> {
    const [segment, ...rest] = held.record.unproven ?? []
    const { chain, timeoutMs, log } = this.#options
    const { recheck } = chain.exporter
    if (segment === undefined || recheck === undefined) return
    try {
      const holds = await boundedBy(reading, timeoutMs, chain.exporterId, (signal) =>
        recheck.holds(segment, signal),
      )
      if (!holds && !(await this.#restore(segment, held, reading, delivering))) return
      if (holds) this.#count('held', segment.rows)
      this.#backoff.reset()
    } catch (error) {
      if (delivering.aborted || faultOf(error)?.code === 'LEASE_LOST') throw error
      if (held.record.frozen?.again === true) await held.save({ frozen: undefined }, delivering)
      if (reading.aborted) return
      const waitMs = this.#backoff.nextMs()
      this.#notBefore = performance.now() + waitMs
      log.warn({ cursor: chain.cursor, error: messageOf(error) }, 'What was stored could not be checked yet')
      return
    }
    await held.save({ unproven: rest }, delivering)
  }

  /** False when reading was ended before. */
  async #restore(
    { from, to, rows }: Claim,
    held: HeldCursor,
    reading: AbortSignal,
    delivering: AbortSignal,
  ): Promise<boolean> {
    const { chain, connector, driver, state, dedupe, log } = this.#options
    const { batching = BATCHING_DEFAULTS } = chain.exporter
    log.warn(
      { cursor: chain.cursor, from, to, rows },
      'A destination does not hold what it took: reading it again',
    )
    this.#receipts = []
    const pages = await readPages({ connector, state }, held.record, from, dedupe)
    const isMine = (cursor: string) => cursor === chain.cursor
    const { window } = await rebuildWindow(driver, from, reading, { isMine, limits: dedupe, pages })
    const source = new RangeSource(driver, from, window, batching, isMine)
    let added = 0
    try {
      for (;;) {
        const raw = await source.upTo(to, reading)
        if (raw === undefined) break
        added += await this.#redeliver(raw, held, reading, delivering)
      }
    } finally {
      await source.close()
    }
    if (reading.aborted) return false
    this.#count('restored', added)
    this.#judge(added)
    return true
  }

  /** Frozen like any range, so that dead letters and repeats are as they were; the cursor's position stays. */
  async #redeliver(
    raw: RawRange,
    held: HeldCursor,
    reading: AbortSignal,
    delivering: AbortSignal,
  ): Promise<number> {
    const { chain, deliverer, clock } = this.#options
    const range = await unlessAborted(reading, prepare(raw, chain.process))
    if (range === undefined || range.live === 0) return 0
    const token = `${rangeToken(held.record, raw.from, raw.to)}-again`
    const frozen = {
      from: raw.from,
      to: raw.to,
      token,
      rows: raw.spans,
      attempt: 1,
      again: true,
      firstTryMs: clock(),
    }
    await held.save({ frozen }, delivering)
    await deliverer.run(range, held, delivering)
    await held.save({ frozen: undefined }, delivering)
    const added = this.#receipts.reduce((sum, receipt) => sum + (receipt.added ?? 0), 0)
    this.#receipts = []
    return added
  }

  #judge(added: number): void {
    const { log, chain } = this.#options
    if (added > 0) {
      this.#falseAlarms = 0
      log.error(
        { cursor: chain.cursor, spans: added },
        'A destination had lost what it took; it was stored again',
      )
      return
    }
    if (++this.#falseAlarms < FALSE_ALARMS) return
    log.warn(
      { cursor: chain.cursor },
      'Nothing was missing although the counts differ: somebody else writes under the same WAL positions. What is stored is not checked again until a restart',
    )
  }

  #count(outcome: string, spans: number): void {
    this.#options.meter.counter('weir_rechecked_spans').add(spans, { ...this.#labels, outcome })
  }
}
