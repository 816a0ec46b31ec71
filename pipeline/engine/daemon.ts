import { hostname } from 'node:os'
import type { AuditDetails } from '../audit/audit.ts'
import type { QueryRequest, QueryResult } from '../component.ts'
import type { ArtifactShelf } from '../artifact.ts'
import type { Config } from '../config.ts'
import { messageOf, reject, retry } from '../fault.ts'
import type { Health, Host } from '../host.ts'
import { within } from '../net/within.ts'
import { StatusBoard } from '../status-board.ts'
import type { RepriceRequest, RepriceResult } from '../reprice.ts'
import type { StoreChild } from '../store/forked.ts'
import { StoreProcess } from '../store/store-process.ts'
import { setLevel } from '../telemetry/logger.ts'
import type { Counter } from '../telemetry/meter.ts'
import { mergeSnapshots } from '../telemetry/prom-meter.ts'
import { buildIntake } from './build-intake.ts'
import { healthOf } from './health.ts'
import { Intake } from './intake.ts'
import { MetricsEndpoints } from './metrics-endpoints.ts'
import type { CursorDesk } from '../wal/cursor-desk.ts'
import { catalogueOf } from '../jobs/catalogue.ts'
import { JobDesk } from '../jobs/desk.ts'
import type { LetterDesk } from '../wal/letter-desk.ts'
import type { ProcessServices } from './process-services.ts'
import { refuseRestartOnly, warnOfLonelyState } from './restart-only.ts'
import { hasStore } from './services.ts'

const STOP_MS = 10_000
const EXTENSIONS_STOP_MS = 2000

export interface DaemonSetup {
  readonly services: ProcessServices
  readonly version: string
  /** The module that the store process runs. */
  readonly storeModule: string
  /** One that was forked before anything here was loaded. */
  readonly storeAhead?: StoreChild | undefined
  /** Reads the configuration again; rejects with CONFIG_INVALID and every error in its message. */
  readonly load: () => Promise<Config>
}

interface Reloaded {
  readonly configDigest: string
  readonly changed: readonly string[]
}

/** The main process: intake, extensions, and the store process beside it. */
export class Daemon implements Host {
  readonly version: string
  readonly #setup: DaemonSetup
  readonly #board: StatusBoard
  readonly #store: StoreProcess
  readonly #intake: Intake
  readonly #metrics: MetricsEndpoints
  readonly #reloads: Counter
  readonly #startedAtMs: number
  #config: Config | undefined
  /** The start and the reloads, one after the other. */
  #changing: Promise<unknown> = Promise.resolve()
  #stopped: Promise<readonly string[]> | undefined
  /** Between the last receiver's start and the first one's stop. */
  #isServing = false
  #hasStarted = false
  /** A failed reload could not put the old config back: the next reload must do all of it. */
  #isBroken = false

  constructor(setup: DaemonSetup) {
    const { services } = setup
    this.version = setup.version
    this.#setup = setup
    this.#board = new StatusBoard(services.clock)
    this.#store = new StoreProcess(setup.storeModule, { ...services, ahead: setup.storeAhead })
    this.#intake = new Intake(this.#board, () => this.#stopped !== undefined)
    this.#metrics = new MetricsEndpoints(services.listeners, () => this.metrics())
    this.#reloads = services.meter.counter('weir_config_reloads')
    this.#startedAtMs = services.clock()
  }

  /** Tells the store process that there is something to read. */
  poke(connector: string): void {
    this.#store.poke(connector)
  }

  start(config: Config): Promise<void> {
    const started = this.#start(config)
    this.#changing = started.catch(() => undefined)
    return started
  }

  /** Sinks first: the WAL, then the store process (which registers its cursors), then what listens. */
  async #start(config: Config): Promise<void> {
    const { services } = this.#setup
    this.#config = config
    warnOfLonelyState(config, services.log)
    const graph = await buildIntake(config, services, this, this.#intake.graph)
    await this.#metrics.change(config.service.telemetry.metrics)
    await this.#intake.startSinks(graph)
    if (this.#stopped !== undefined) throw stopping()
    if (hasStore(config)) await this.#store.start(config.raw)
    await this.#intake.startReceivers()
    if (this.#stopped !== undefined) throw stopping()
    this.#isServing = true
    this.#hasStarted = true
    services.log.info(
      { config_digest: config.digest },
      'Everything is ready. Begin running and processing data.',
    )
    this.#enter('daemon.start', config)
  }

  reload(): Promise<Reloaded> {
    const change = this.#changing.then(() => this.#reload())
    this.#changing = change.catch(() => undefined)
    return change
  }

  async #reload(): Promise<Reloaded> {
    const before = this.#config
    if (before === undefined || this.#stopped !== undefined) throw stopping()
    const { log } = this.#setup.services
    try {
      const config = await this.#setup.load()
      await this.#intake.refresh()
      if (config.digest === before.digest && !this.#isBroken) {
        log.info({ config_digest: config.digest }, 'The configuration is the one that runs')
        return { configDigest: config.digest, changed: [] }
      }
      const changed = await this.#change(before, config)
      this.#config = config
      this.#isBroken = false
      this.#reloads.add(1, { outcome: 'success' })
      this.#enter('config.applied', config, { changed: changed.slice(0, 64) })
      log.info({ config_digest: config.digest, changed }, 'The new configuration is running')
      return { configDigest: config.digest, changed }
    } catch (error) {
      this.#reloads.add(1, { outcome: 'failure' })
      log.error({ error: messageOf(error) }, 'The reload failed. The old configuration runs on')
      throw error
    }
  }

  /** For those who look back; the daemon runs without it as well. */
  #enter(action: string, config: Config, details: AuditDetails = {}): void {
    const { audit } = this.#setup.services
    const actor = { id: 'weir', kind: 'system' } as const
    const about = { version: this.version, config_digest: config.digest, ...details }
    audit?.append({ actor, action, object: hostname(), outcome: 'ok', details: about }).catch(() => undefined)
  }

  /** The store process first: it registers new cursors before anything reaches the WAL for them. */
  async #change(before: Config, config: Config): Promise<readonly string[]> {
    const { services } = this.#setup
    refuseRestartOnly(before, config)
    const next = await buildIntake(config, services, this, this.#intake.graph)
    const inStore = await this.#store.reload(hasStore(config) ? config.raw : undefined)
    services.listeners.beginReload()
    try {
      await this.#metrics.change(config.service.telemetry.metrics)
      const inIntake = await this.#intake.swap(next)
      setLevel(services.log, config.service.telemetry.logs.level)
      warnOfLonelyState(config, services.log)
      return [...new Set([...inStore, ...inIntake])]
    } catch (error) {
      await this.#back(before, error)
      throw error
    } finally {
      this.#intake.resume()
      await services.listeners.endReload()
    }
  }

  /** After a failed swap: whatever of the old config was stopped is built again. */
  async #back(before: Config, cause: unknown): Promise<void> {
    if (this.#stopped !== undefined) return
    const { services } = this.#setup
    // What the new config has claimed of the sockets is the old one's again.
    services.listeners.beginReload()
    try {
      await this.#metrics.change(before.service.telemetry.metrics)
      await this.#intake.swap(await buildIntake(before, services, this, this.#intake.graph))
    } catch (error) {
      this.#isBroken = true
      const both = `${messageOf(cause)}; and the old configuration could not be put back: ${messageOf(error)}`
      throw reject('START_FAILED', `${both}. Mend the configuration and reload, or restart the daemon`)
    } finally {
      await this.#store.insist(hasStore(before) ? before.raw : undefined)
    }
  }

  query(request: QueryRequest): Promise<QueryResult> {
    return this.#store.query(request)
  }

  reprice(request: RepriceRequest): Promise<RepriceResult> {
    return this.#store.reprice(request)
  }

  letterDesks(): readonly LetterDesk[] {
    const desks = this.#intake.graph.nodes.map(({ component }) => component.letterDesk)
    return desks.filter((desk) => desk !== undefined)
  }

  artifactShelves(): readonly ArtifactShelf[] {
    return this.#intake.graph.shelves
  }

  cursorDesks(): readonly CursorDesk[] {
    const desks = [...this.#intake.graph.connectors.values()].map(({ cursorDesk }) => cursorDesk)
    return desks.filter((desk) => desk !== undefined)
  }

  jobDesk(): JobDesk {
    const { state, registry, clock } = this.#setup.services
    const entries = this.#config === undefined ? [] : catalogueOf(this.#config, registry)
    return new JobDesk(state, entries, clock)
  }

  async metrics(): Promise<string> {
    const [mine, theirs] = await Promise.all([this.#setup.services.meter.snapshot(), this.#store.metrics()])
    return mergeSnapshots(theirs === undefined ? [mine] : [mine, theirs])
  }

  async health(): Promise<Health> {
    const config = this.#config
    const store = config !== undefined && hasStore(config) ? await this.#store.health() : undefined
    return healthOf(this.#intake.graph, this.#board.list(), store, {
      startedAtMs: this.#startedAtMs,
      config,
      isServing: this.#isServing,
    })
  }

  /** Sources first; what was acknowledged is in the WAL, what was not is answered retryably. */
  stop(): Promise<readonly string[]> {
    this.#stopped ??= this.#stop()
    return this.#stopped
  }

  async #stop(): Promise<readonly string[]> {
    this.#isServing = false
    const { services } = this.#setup
    const deadlineMs = this.#config?.service.shutdownTimeoutMs ?? STOP_MS
    const endMs = performance.now() + deadlineMs
    const deadline = AbortSignal.timeout(deadlineMs)
    // A reload under way gets half of the time; a start under way is cut short, as its store process ends below.
    if (this.#hasStarted) await within(deadline, deadlineMs / 2, this.#changing)
    const troubles = [...(await this.#intake.stop(deadline))]
    await this.#store.stop(deadline, endMs - performance.now())
    troubles.push(...(await this.#intake.stopExtensions(AbortSignal.timeout(EXTENSIONS_STOP_MS))))
    await this.#metrics.stop()
    await services.listeners.close()
    await within(
      AbortSignal.timeout(EXTENSIONS_STOP_MS),
      undefined,
      services.tracing?.stop() ?? Promise.resolve(),
    )
    if (this.#config !== undefined) this.#enter('daemon.stop', this.#config)
    await services.closeState()
    return troubles
  }
}

function stopping() {
  return retry('SHUTTING_DOWN', 'the daemon is not running')
}
