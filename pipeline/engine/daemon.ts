import type { QueryRequest, QueryResult } from '../component.ts'
import type { Config } from '../config.ts'
import { messageOf, reject } from '../fault.ts'
import type { Health, Host } from '../host.ts'
import { StatusBoard } from '../status-board.ts'
import { StoreProcess } from '../store/store-process.ts'
import type { Counter } from '../telemetry/meter.ts'
import { serveMetrics, type MetricsServer } from '../telemetry/metrics-server.ts'
import { mergeSnapshots } from '../telemetry/prom-meter.ts'
import { buildIntake, EMPTY_INTAKE, type IntakeGraph } from './build-intake.ts'
import { healthOf } from './health.ts'
import { difference, RANK, startAll, stopAll, type Node } from './node.ts'
import { stateConfig, type ProcessServices } from './process-services.ts'
import { isStorePipeline } from './services.ts'

const SWAP_MS = 10_000

export interface DaemonSetup {
  readonly services: ProcessServices
  readonly version: string
  /** The module that the store process runs. */
  readonly storeModule: string
  /** Reads the configuration again; rejects with CONFIG_INVALID and every error in its message. */
  readonly load: () => Promise<Config>
}

/** The main process: intake, extensions, and the store process beside it. */
export class Daemon implements Host {
  readonly version: string
  readonly #setup: DaemonSetup
  readonly #board: StatusBoard
  readonly #store: StoreProcess
  readonly #reloads: Counter
  readonly #startedAtMs: number
  #config: Config | undefined
  #graph: IntakeGraph = EMPTY_INTAKE
  #metricsServers: readonly MetricsServer[] = []
  #changing: Promise<unknown> = Promise.resolve()
  /** Between the last receiver's start and the first one's stop. */
  #isServing = false
  #isStopping = false

  constructor(setup: DaemonSetup) {
    this.version = setup.version
    this.#setup = setup
    this.#board = new StatusBoard(setup.services.clock)
    this.#store = new StoreProcess(setup.storeModule, setup.services)
    this.#reloads = setup.services.meter.counter('weir_config_reloads')
    this.#startedAtMs = setup.services.clock()
  }

  /** Tells the store process that there is something to read. */
  poke(connector: string): void {
    this.#store.poke(connector)
  }

  /** Sinks first: the WAL, then the store process (which registers its cursors), then what listens. */
  async start(config: Config): Promise<void> {
    const { services } = this.#setup
    this.#graph = buildIntake(config, services, this, EMPTY_INTAKE)
    this.#config = config
    const { nodes } = this.#graph
    const late = (node: Node): boolean => node.rank === RANK.receiver
    this.#metricsServers = await this.#serveMetrics(config)
    await startAll(
      nodes.filter((node) => !late(node)),
      this.#board,
    )
    if (hasStore(config)) await this.#store.start(config.raw)
    this.#point()
    await startAll(nodes.filter(late), this.#board)
    this.#isServing = true
    services.log.info(
      { config_digest: config.digest },
      'Everything is ready. Begin running and processing data.',
    )
  }

  #serveMetrics(config: Config): Promise<MetricsServer[]> {
    const { metrics } = config.service.telemetry
    if (metrics.level === 'none') return Promise.resolve([])
    const { listeners } = this.#setup.services
    return Promise.all(
      metrics.endpoints.map((endpoint) => serveMetrics(endpoint, listeners, () => this.metrics())),
    )
  }

  #point(): void {
    for (const [id, entry] of this.#graph.entries) this.#graph.switches.get(id)?.point(entry)
  }

  reload(): Promise<{ configDigest: string; changed: readonly string[] }> {
    const change = this.#changing.then(() => this.#reload())
    this.#changing = change.catch(() => undefined)
    return change
  }

  async #reload(): Promise<{ configDigest: string; changed: readonly string[] }> {
    const before = this.#config
    if (before === undefined || this.#isStopping) throw reject('SHUTTING_DOWN', 'the daemon is not running')
    const { log, listeners } = this.#setup.services
    try {
      const config = await this.#setup.load()
      if (config.digest === before.digest) return { configDigest: config.digest, changed: [] }
      refuseRestartOnly(before, config)
      const next = buildIntake(config, this.#setup.services, this, this.#graph)
      const changed = hasStore(config) ? [...(await this.#store.reload(config.raw))] : []
      listeners.beginReload()
      try {
        changed.push(...(await this.#swap(next)))
      } catch (error) {
        await this.#back(before)
        throw error
      } finally {
        await listeners.endReload()
      }
      this.#config = config
      this.#reloads.add(1, { outcome: 'success' })
      log.info({ config_digest: config.digest, changed }, 'The new configuration is running')
      return { configDigest: config.digest, changed: [...new Set(changed)] }
    } catch (error) {
      this.#reloads.add(1, { outcome: 'failure' })
      log.error({ error: messageOf(error) }, 'The reload failed. The old configuration runs on')
      throw error
    }
  }

  /** Old receivers drain through the old pipelines, then requests wait while what is behind them changes. */
  async #swap(next: IntakeGraph): Promise<string[]> {
    const { added, removed } = difference(this.#graph.nodes, next.nodes)
    const deadline = AbortSignal.timeout(SWAP_MS)
    const isReceiver = (node: Node): boolean => node.rank === RANK.receiver
    await stopAll(removed.filter(isReceiver), deadline, this.#board)
    for (const each of this.#graph.switches.values()) await each.pause(deadline)
    try {
      await stopAll(
        removed.filter((node) => !isReceiver(node)),
        deadline,
        this.#board,
      )
      for (const node of removed) this.#board.delete(node.name)
      this.#graph = { ...next, nodes: next.nodes.filter((node) => !added.includes(node)) }
      for (const node of added.filter((each) => !isReceiver(each))) await this.#startOne(node)
      this.#graph = { ...this.#graph, entries: next.entries, switches: next.switches }
      this.#point()
    } finally {
      for (const each of next.switches.values()) each.resume()
    }
    for (const node of added.filter(isReceiver)) await this.#startOne(node)
    return [...added, ...removed].map((node) => node.name)
  }

  async #startOne(node: Node): Promise<void> {
    await startAll([node], this.#board)
    this.#graph = { ...this.#graph, nodes: [...this.#graph.nodes, node] }
  }

  /** After a failed swap: whatever of the old config was stopped is built again. */
  async #back(before: Config): Promise<void> {
    await this.#swap(buildIntake(before, this.#setup.services, this, this.#graph))
    if (hasStore(before)) await this.#store.reload(before.raw)
  }

  query(request: QueryRequest): Promise<QueryResult> {
    return this.#store.query(request)
  }

  async metrics(): Promise<string> {
    const [mine, theirs] = await Promise.all([this.#setup.services.meter.snapshot(), this.#store.metrics()])
    return mergeSnapshots(theirs === undefined ? [mine] : [mine, theirs])
  }

  async health(): Promise<Health> {
    const config = this.#config
    const store = config !== undefined && hasStore(config) ? await this.#store.health() : undefined
    return healthOf(this.#graph, this.#board.list(), store, {
      startedAtMs: this.#startedAtMs,
      configDigest: config?.digest ?? '',
      isServing: this.#isServing,
    })
  }

  /** Sources first; what was acknowledged is in the WAL, what was not is answered retryably. */
  async stop(): Promise<readonly string[]> {
    this.#isStopping = true
    this.#isServing = false
    await this.#changing
    const deadlineMs = this.#config?.service.shutdownTimeoutMs ?? SWAP_MS
    const deadline = AbortSignal.timeout(deadlineMs)
    const pipeline = this.#graph.nodes.filter((node) => node.rank !== RANK.extension)
    const extensions = this.#graph.nodes.filter((node) => node.rank === RANK.extension)
    const troubles = [...(await stopAll(pipeline, deadline, this.#board))]
    await this.#store.stop(deadline, deadlineMs)
    troubles.push(...(await stopAll(extensions, AbortSignal.timeout(2000), this.#board)))
    await Promise.all(this.#metricsServers.map((server) => server.stop()))
    await this.#setup.services.listeners.close()
    await this.#setup.services.tracing?.stop()
    await this.#setup.services.state.close()
    return troubles
  }
}

function hasStore(config: Config): boolean {
  return [...config.service.pipelines.values()].some((pipeline) => isStorePipeline(config, pipeline))
}

/** What cannot change under a running daemon: where acknowledged data rests, and where cursors do. */
function refuseRestartOnly(before: Config, after: Config): void {
  if (JSON.stringify(stateConfig(before)) !== JSON.stringify(stateConfig(after))) {
    throw reject('CONFIG_INVALID', 'the state extension cannot change under a running daemon: restart it')
  }
  for (const [id, connector] of before.connectors) {
    const next = after.connectors.get(id)
    if (next === undefined) continue
    const changed = ['driver', 'directory', 'servers', 'stream'].filter(
      (key) => JSON.stringify(fieldOf(connector.value, key)) !== JSON.stringify(fieldOf(next.value, key)),
    )
    if (changed.length > 0) {
      const keys = changed.map((key) => `connectors.${id}.${key}`).join(', ')
      throw reject('CONFIG_INVALID', `${keys} cannot change under a running daemon: restart it`)
    }
  }
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}
