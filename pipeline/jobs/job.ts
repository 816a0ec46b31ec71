import type { Exporter, Processor } from '../component.ts'
import type { Context, StoreChain } from '../factory.ts'
import type { StoredLog } from '../follower.ts'
import type { RepriceRequest, RepriceResult } from '../reprice.ts'
import type { Redactable, StoredRedactor } from '../redact.ts'
import type { Retainable } from '../retention.ts'

/**
 * Work that is not on the data's path: on a schedule, or when somebody asks. Jobs run in the store process of one daemon at
 * a time, by a lease; one that was interrupted goes on from its checkpoint, here or in another daemon.
 */
export interface Job {
  /**
   * One run, or the rest of one that was interrupted: what it did behind the last checkpoint is done again, so that must
   * be harmless. Ends soon after `signal` aborts (deadline, cancelled, stopping, lease lost), by whatever error.
   * A Fault that says retry has the run go on after a pause, until its deadline; anything else ends it as failed.
   */
  run(task: Task, signal: AbortSignal): Promise<JobReport>
}

/** What a run came to. As JSON at most 64 KiB: larger texts are cut, and the report says so. */
export interface JobReport {
  /** Shown as a table: `rows_deleted: 17`. */
  readonly counts: Readonly<Record<string, number>>
  /** Lines for people. */
  readonly notes: readonly string[]
  /** What a program wants besides; JSON. */
  readonly details?: unknown
}

/** One run, as its job sees it. */
export interface Task {
  /** Id of the job in the config, `type` or `type/name`. */
  readonly job: string
  /** Unique within the job: its number, from 1. */
  readonly id: string
  /** The time of the schedule that it stands for, or when it was asked for. Unix ms. */
  readonly scheduledAtMs: number
  /** Tell what would be done, and do nothing. */
  readonly dryRun: boolean
  /** Parsed by the factory's `params`. */
  readonly params: unknown
  /** The principal who asked; `schedule`. */
  readonly by: string
  /** What was saved last; undefined at the beginning. */
  readonly checkpoint: unknown
  /** Keeps JSON of at most 256 KiB. Throws LEASE_LOST: somebody else runs it now, and nothing more may be done. */
  save(checkpoint: unknown): Promise<void>
  /** Where it is, for people. Cheap: written at most once a second. */
  progress(done: number, total: number | undefined, unit: string): void
  readonly clock: () => number
}

export interface JobContext extends Context {
  readonly stores: Stores
}

/** What of the store process a job may use. Asked at each use: a reload may have replaced it. */
export interface Stores {
  /** Those that have started, as they are (not as they are counted). */
  exporters(): readonly StoredExporter[]
  /** The logs that this process reads. */
  logs(): readonly StoredLog[]
  /** What redacts before the logs, for what is stored behind them. */
  redactors(): readonly StoredRedactor[]
  /** By id, every exporter that can be redacted; one that has not started asks to be tried later. */
  redactables(): ReadonlyMap<string, Redactable>
  /** Everything in exporters and logs that can delete what is over its time; one that has not started asks to be tried later. */
  retainables(): readonly Retainable[]
  /** A pipeline's chains; empty where this daemon has no such pipeline behind a WAL. */
  chains(pipeline: string): readonly StoreChain[]
  /**
   * From a log through a pipeline's processors into one of its exporters. REQUEST_INVALID where there is none such, or
   * several and none is named; EXPORT_UNAVAILABLE (retry) while the exporter does not run.
   */
  route(pipeline: string, exporter?: string): ReplayRoute
}

/** What a replay through a pipeline works with. */
export interface ReplayRoute {
  /** Of this pipeline and exporter. */
  readonly cursor: string
  readonly pipeline: string
  readonly exporterId: string
  readonly exporter: Exporter
  /** What the pipeline reads. */
  readonly log: StoredLog
  /** All cursors that deliver into the exporter. */
  readonly feeders: readonly { readonly connector: string; readonly cursor: string }[]
  /** The pipeline's processors in order, made anew, not started: instances that feed no counters of meaning. */
  processors(source: 'log' | 'archive'): Promise<readonly Processor[]>
  /** Prices what the exporter has stored again, by the pipeline's prices. */
  reprice(request: RepriceRequest, signal: AbortSignal): Promise<RepriceResult>
}

export interface StoredExporter {
  readonly id: string
  /** The store pipelines that end in it. */
  readonly pipelines: readonly string[]
  readonly exporter: Exporter
}
