import { isFollower } from '../../pipeline/follower.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import type { Meter } from '../../pipeline/telemetry/meter.ts'
import { measureLag, type CursorLag } from '../../pipeline/wal/cursor-lag.ts'
import { cursorKey, decodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { CursorSightings } from '../../pipeline/wal/cursor-seen.ts'
import type { WalDriver, WalInfo } from '../../pipeline/wal/driver.ts'
import type { ReaderView } from '../../pipeline/wal/reader.ts'
import { namesOf, type CursorNames } from './cursor-names.ts'

export interface LagOptions {
  readonly connector: string
  readonly driver: WalDriver
  readonly state: StateStore
  readonly meter: Meter
  readonly clock: () => number
  readonly alarmMs: number
  readonly views: () => readonly ReaderView[]
}

const TOUCH_MS = 60_000
/** A destination that is back this soon was never down. */
const FAILING_MS = 10_000
const NEARLY_FULL = 0.9

/** Shows how far each cursor is behind, and says so when it is too far. */
export class LagWatch {
  readonly #options: LagOptions
  readonly #sightings: CursorSightings
  #touchedMs = -Infinity
  #lags = new Map<string, CursorLag>()
  #info: WalInfo | undefined

  constructor(options: LagOptions) {
    this.#options = options
    this.#sightings = new CursorSightings(options.state, options.connector, options.clock)
  }

  /** Tells every daemon's trimmer that these cursors are wanted. */
  async touch(cursors: readonly string[]): Promise<void> {
    await this.#sightings.touch(cursors)
    this.#touchedMs = this.#options.clock()
  }

  async look(cursors: readonly string[], info: WalInfo, signal: AbortSignal): Promise<void> {
    const { clock, driver } = this.#options
    if (clock() - this.#touchedMs >= TOUCH_MS) await this.touch(cursors)
    const views = new Map(this.#options.views().map((view) => [view.cursor, view]))
    const lags = new Map<string, CursorLag>()
    for (const cursor of cursors) {
      const record = views.get(cursor)?.record ?? (await this.#stored(cursor))
      if (record === undefined || signal.aborted) continue
      const lag = await measureLag(driver, info, record, clock(), signal)
      lags.set(cursor, lag)
      this.#show(views.get(cursor) ?? namesOf(cursor), lag, info)
    }
    this.#lags = lags
    this.#info = info
  }

  /** Why this WAL is not as it should be. */
  degraded(): readonly string[] {
    const { alarmMs, clock, views, connector } = this.#options
    const reasons: string[] = []
    for (const [cursor, { seconds }] of this.#lags) {
      if (seconds * 1000 > alarmMs && !isFollower(cursor)) {
        reasons.push(`${cursor} is ${Math.round(seconds)} s behind (alarm at ${alarmMs / 1000} s)`)
      }
    }
    for (const { cursor, failing } of views()) {
      if (failing !== undefined && clock() - failing.sinceMs > FAILING_MS) {
        reasons.push(`${cursor} fails since ${new Date(failing.sinceMs).toISOString()}: ${failing.message}`)
      }
    }
    const { bytes = 0, maxBytes = 1 } = this.#info ?? {}
    if (bytes > NEARLY_FULL * maxBytes) {
      reasons.push(`${connector} holds ${Math.round((100 * bytes) / maxBytes)} % of the bytes that it may`)
    }
    return reasons
  }

  async #stored(cursor: string): Promise<CursorRecord | undefined> {
    const key = cursorKey(this.#options.connector, cursor)
    const entry = await this.#options.state.get(key)
    return entry === undefined ? undefined : decodeCursor(key, entry.value)
  }

  #show({ pipeline, exporterId }: CursorNames, lag: CursorLag, info: WalInfo): void {
    const { meter } = this.#options
    const labels = { pipeline, exporter: exporterId }
    meter.gauge('weir_wal_lag_spans').set(lag.spans, labels)
    meter.gauge('weir_wal_lag_bytes').set(lag.bytes, labels)
    meter.gauge('weir_wal_lag_seconds').set(lag.seconds, labels)
    meter.gauge('otelcol_exporter_queue_size').set(lag.spans, { exporter: exporterId })
    meter.gauge('otelcol_exporter_queue_capacity').set(info.maxBytes, { exporter: exporterId })
  }
}
