import type { QueryRequest, QueryResult } from '../component.ts'
import type { ComponentHealth } from '../host.ts'
import type { RepriceRequest, RepriceResult } from '../reprice.ts'
import type { MetricSnapshot } from '../telemetry/prom-meter.ts'

/** What the daemon's main process asks of its store process. */
export type StoreMethods = {
  /** Opens state and WAL, registers every cursor, then starts the exporters behind it. Answered once cursors are registered. */
  readonly start: { readonly takes: StoreStart; readonly gives: null }
  readonly reload: {
    readonly takes: { readonly raw: unknown }
    readonly gives: { readonly changed: readonly string[] }
  }
  readonly query: { readonly takes: QueryRequest; readonly gives: QueryResult }
  readonly reprice: { readonly takes: RepriceRequest; readonly gives: RepriceResult }
  readonly health: { readonly takes: null; readonly gives: StoreHealth }
  readonly metrics: { readonly takes: null; readonly gives: MetricSnapshot }
  /** Finishes what is in flight within the deadline, then the process exits. */
  readonly stop: { readonly takes: { readonly deadlineMs: number }; readonly gives: null }
  /** A hint: the connector has something to read. */
  readonly poke: { readonly takes: { readonly connector: string }; readonly gives: null }
}

export interface StoreStart {
  /** `Config.raw` of the effective configuration. */
  readonly raw: unknown
  /** Name in leases: the same for each store process of a daemon, of which there is one at a time. */
  readonly holder: string
}

export interface StoreHealth {
  readonly components: readonly ComponentHealth[]
  readonly degraded: readonly string[]
}
