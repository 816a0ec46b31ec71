import type { ArtifactShelf } from './artifact.ts'
import type { CursorDesk } from './wal/cursor-desk.ts'
import type { JobDesk } from './jobs/desk.ts'
import type { LetterDesk } from './wal/letter-desk.ts'
import type { QueryRequest, QueryResult } from './component.ts'
import type { RepriceRequest, RepriceResult } from './reprice.ts'

/** Health of one component, in the words of the collector's component status (healthcheckv2). */
export type Status =
  | 'StatusStarting'
  | 'StatusOK'
  | 'StatusRecoverableError'
  | 'StatusPermanentError'
  | 'StatusFatalError'
  | 'StatusStopping'
  | 'StatusStopped'

export interface ComponentHealth {
  /** `receiver:otlp`, `exporter:clickhouse`, `process:store`, … */
  readonly name: string
  /** `pipeline:traces/ingest`, `extensions`, … */
  readonly group: string
  readonly status: Status
  readonly error?: string
  readonly sinceMs: number
}

export interface Health {
  /** Intake can store: the WAL can be written. False → `/readyz` 503. */
  readonly ready: boolean
  /** Ready, but something lags or is down; why. */
  readonly degraded: readonly string[]
  readonly startedAtMs: number
  readonly components: readonly ComponentHealth[]
  /** What an acknowledgement survives, per WAL connector: `process` or `strict`, and its proof. */
  readonly durability: readonly {
    readonly connector: string
    readonly mode: string
    readonly proof: string
  }[]
  /** SHA-256 (hex) of the effective config. */
  readonly configDigest: string
}

/** What extensions may ask of the daemon. */
export interface Host {
  readonly version: string
  health(): Promise<Health>
  /** Prometheus text of all processes of this daemon. */
  metrics(): Promise<string>
  /** Validate, build and swap; throws a Fault and leaves the old config running when anything fails. */
  reload(): Promise<{ readonly configDigest: string; readonly changed: readonly string[] }>
  /** Runs a checked SELECT where the data is (the store process). Fault NOT_FOUND when no exporter can be queried. */
  query(request: QueryRequest, signal: AbortSignal): Promise<QueryResult>
  /** Prices what is stored again. Fault NOT_FOUND when no pipeline prices into a store that can be repriced. */
  reprice(request: RepriceRequest, signal: AbortSignal): Promise<RepriceResult>
  /** Dead letters, by the connector that has them. */
  letterDesks(): readonly LetterDesk[]
  /** What processors have moved out of spans, by the processor. */
  artifactShelves(): readonly ArtifactShelf[]
  /** Where the exporters are, by the log that they read. */
  cursorDesks(): readonly CursorDesk[]
  /** What the jobs are at, and where to ask for runs. */
  jobDesk(): JobDesk
}
