import type { z } from 'zod'
import type { ArtifactShelf } from './artifact.ts'
import type { Component, Exporter, Extension, Processor, Receiver } from './component.ts'
import type { Audit } from './audit/audit.ts'
import type { Consumer } from './consumer.ts'
import type { Follower, LogWorker, StoredLog } from './follower.ts'
import type { Entry, Lookback } from './admission.ts'
import type { Retainable } from './retention.ts'
import type { StateStore } from './state/state.ts'
import type { IdentityView } from './identity/view.ts'
import type { Vault } from './identity/vault.ts'
import type { Pseudonyms } from './privacy/pseudonyms.ts'
import type { Log } from './telemetry/log.ts'
import type { Meter } from './telemetry/meter.ts'
import type { Listeners } from './net/listeners.ts'
import type { ByteGate } from './intake.ts'
import type { Host } from './host.ts'
import type { Job, JobContext } from './jobs/job.ts'
import type { Pressure } from './pressure.ts'
import type { Usage } from './usage/usage.ts'
import type { CursorDesk } from './wal/cursor-desk.ts'
import type { Durability } from './wal/driver.ts'

export type Kind = 'receiver' | 'processor' | 'exporter' | 'connector' | 'extension' | 'job'

/** What a component is given. Nothing else is global, so two instances never share state. */
export interface Context {
  /** As written in the config: `type` or `type/name`. */
  readonly id: string
  readonly kind: Kind
  /** Tagged with the component id. */
  readonly log: Log
  readonly meter: Meter
  /** Unix ms. Processors must not use it (law 5): their clock is `batch.meta.receivedAtMs`. */
  readonly clock: () => number
  /** Usable from `start` on. */
  readonly state: StateStore
  /** Tenants, projects, agents and keys, kept fresh. Complete from `start` on. */
  readonly identity: IdentityView
  /** Seals secrets that must be read again; absent without a master key (`master_key` of the state extension). */
  readonly vault?: Vault | undefined
  /** Who did, read or was refused what. Absent only where there is no daemon (benches, `validate --connect`). */
  readonly audit?: Audit | undefined
  /** Which pseudonyms values have in this process. */
  readonly pseudonyms?: Pseudonyms
  /** Bound sockets; a reload hands them over without refusing a connection. */
  readonly listeners: Listeners
  /** Bytes of request bodies in flight, over all receivers. */
  readonly intake: ByteGate
  /** What waits behind intake: who decides about new requests reads it, WAL connectors report to it. */
  readonly pressure: Pressure
  /** What each tenant has used today, over all daemons. */
  readonly usage: Usage
  /**
   * False for a processor behind any but a pipeline's first exporter: it feeds no counters of meaning (cost, tokens,
   * unpriced), or they would count a span once per exporter. Absent: true.
   */
  readonly counts?: boolean
  /** For a processor behind the WAL: which log its pipeline reads. */
  readonly behind?: { readonly connector: string; readonly pipeline: string }
}

/** What a component is called and how it is configured. Its code is apart, in what `load` gives. */
interface Described<S extends z.ZodType> {
  /** As written in YAML, lower_snake_case. */
  readonly type: string
  /** Other names the OpenTelemetry collector's users write for it. */
  readonly aliases?: readonly string[]
  /** One line, for `weir components` and the docs. */
  readonly summary: string
  /** Types, defaults, checks, JSON Schema and docs from one source. */
  readonly config: S
}

interface Loadable<Maker> {
  /** Imports what it is made of: a process loads the code of those components only that its config names. */
  load(): Promise<Maker>
}

interface ReceiverMaker<S extends z.ZodType> {
  create(config: z.output<S>, context: Context, next: Entry): Receiver
}

export type ReceiverFactory<S extends z.ZodType = z.ZodType> = Described<S> & Loadable<ReceiverMaker<S>>

interface ProcessorMaker<S extends z.ZodType> {
  create(config: z.output<S>, context: Context): Processor
}

export interface ProcessorFactory<S extends z.ZodType = z.ZodType>
  extends Described<S>, Loadable<ProcessorMaker<S>> {
  /** With this config it reads the WAL ahead (`Processor.ahead`), so that it can only stand behind one, and once per pipeline. */
  readsAhead?(config: z.output<S>): boolean
  /** It takes out what must not rest anywhere (`Processor.redacts`): an instance in the store process redacts again what is stored. */
  readonly redacts?: boolean
  /** Before a WAL: what it does with what its pipeline has stored there, in the store process, in one daemon at a time. */
  loadAfterwards?(): Promise<AfterwardsMaker<S>>
  /** What it has stored outside of the spans, for the API: made in the main process, wherever the processor stands. */
  loadShelf?(): Promise<ShelfMaker<S>>
}

interface AfterwardsMaker<S extends z.ZodType> {
  /** `receivers`: the pipeline's, as `BatchMeta.source` begins with them. No I/O. Undefined: nothing. */
  create(
    config: z.output<S>,
    context: Context,
    log: StoredLog,
    receivers: readonly string[],
  ): LogWorker | undefined
}

interface ShelfMaker<S extends z.ZodType> {
  /** No I/O. */
  create(config: z.output<S>, context: Context): ArtifactShelf & Component
}

interface ExporterMaker<S extends z.ZodType> {
  create(config: z.output<S>, context: Context): Exporter
}

export type ExporterFactory<S extends z.ZodType = z.ZodType> = Described<S> & Loadable<ExporterMaker<S>>

interface ExtensionMaker<S extends z.ZodType> {
  create(config: z.output<S>, context: Context, host: Host): Extension
}

export type ExtensionFactory<S extends z.ZodType = z.ZodType> = Described<S> & Loadable<ExtensionMaker<S>>

export function cursorName(pipeline: string, exporter: string): string {
  return `${pipeline}/${exporter}`
}

/** One exporter of a store pipeline, with the processors before it: what a cursor drives. */
export interface StoreChain {
  /** Its name: see `cursorName`. */
  readonly cursor: string
  readonly pipeline: string
  readonly exporterId: string
  /** Runs the pipeline's processors in order; deterministic. */
  readonly process: Processor['process']
  readonly exporter: Exporter
  /** True for the pipeline's first exporter: counters of meaning are fed by it only. */
  readonly first: boolean
}

/**
 * Joins pipelines: the exporter of some, the receiver of others. For the WAL the two sides live in two processes:
 * `intake` is used by the daemon's main process, `attach` by the store process.
 */
export interface Connector extends Component {
  readonly intake: Consumer
  /** Main process: what of a batch is stored. */
  readonly lookback?: Lookback
  /** Main process: where its exporters are. */
  readonly cursorDesk?: CursorDesk
  /** Adds a chain. Before or after `start`; `detach` finishes the range in flight. */
  attach(chain: StoreChain): void
  detach(cursor: string, deadline: AbortSignal): Promise<void>
  /** Store side: what of it goes when its time is over. */
  readonly retainables?: readonly Retainable[]
  /** Store side: the log for its followers. */
  readonly stored?: StoredLog
  /** Store side: adds who reads the log without delivering; ended by `detach` of its cursor. */
  follow?(follower: Follower): void
  /** Store side: the cursors that the config has now. New ones get their first position before intake opens. */
  register(cursors: readonly string[], followers?: readonly Follower[]): Promise<void>
  /** Called in the store process when the main process has appended (a hint; polling covers its loss). */
  poke?(): void
  /** Of the intake's side, once it is started: what an acknowledgement survives. */
  readonly durability?: Durability | undefined
  /** Why this connector is not as it should be (an exporter that lags); empty when all is well. */
  degraded?(): readonly string[]
}

interface ConnectorMaker<S extends z.ZodType> {
  /** `config` and `context.role` as for `load`. */
  create(config: z.output<S>, context: ConnectorContext): Connector
}

export interface ConnectorFactory<S extends z.ZodType = z.ZodType> extends Described<S> {
  /** As `Loadable.load`: what it is made of depends on its driver and on the side that this process plays. */
  load(config: z.output<S>, role: ConnectorContext['role']): Promise<ConnectorMaker<S>>
}

export interface ConnectorContext extends Context {
  /** Which side this process plays. */
  readonly role: 'intake' | 'store'
  /** Tell the other process that there is something to read. */
  readonly onAppended: () => void
  /** Name in leases, unique among what runs at a time; absent: one of its own. */
  readonly holder?: string
}

interface JobMaker<S extends z.ZodType> {
  create(config: z.output<S>, context: JobContext): Job
}

/** Its `config` is made by `jobConfig` (pipeline/jobs/timing.ts): the keys that all jobs have, and its own. */
export interface JobFactory<S extends z.ZodType = z.ZodType> extends Described<S>, Loadable<JobMaker<S>> {
  /** What a run that somebody asks for may be told; by schedule it is `{}`. */
  readonly params: z.ZodType
  /** Can be asked for without an entry under `jobs:`; then its config is that of `{}`. */
  readonly onDemand?: boolean
}

/** The lists that `cmd` gives to config and build: everything that is built in. */
export interface Registry {
  readonly receivers: readonly ReceiverFactory[]
  readonly processors: readonly ProcessorFactory[]
  readonly exporters: readonly ExporterFactory[]
  readonly connectors: readonly ConnectorFactory[]
  readonly extensions: readonly ExtensionFactory[]
  readonly jobs: readonly JobFactory[]
}
