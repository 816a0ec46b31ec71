import type { Exporter, Processor, QueryRequest, QueryResult } from '../component.ts'
import { randomUUID } from 'node:crypto'
import { AuditCopier } from '../audit/copier.ts'
import type { Batch } from '../batch/batch.ts'
import { inOrder } from '../chain.ts'
import type { Config } from '../config.ts'
import { difference, RANK, startAll, stopAll, type Node } from '../engine/node.ts'
import { contextFor, type Services } from '../engine/services.ts'
import type { Connector } from '../factory.ts'
import { catalogueOf } from '../jobs/catalogue.ts'
import type { StoredExporter, Stores } from '../jobs/job.ts'
import { JobScheduler } from '../jobs/scheduler.ts'
import { faultOf, messageOf, reject } from '../fault.ts'
import type { StatusBoard } from '../status-board.ts'
import {
  buildStore,
  connectorOf,
  type ChainPlan,
  type FollowerPlan,
  type RedactorPlan,
  type StoreGraph,
} from './build-store.ts'
import type { StoreHealth } from './protocol.ts'
import { within } from '../net/within.ts'
import { sleep } from '../sleep.ts'
import type { Redactable, StoredRedactor } from '../redact.ts'
import type { RepriceRequest, RepriceResult } from '../reprice.ts'
import { replayRoute } from './replay-route.ts'
import { repriceStored } from './reprice-stored.ts'
import { retainablesOf } from './retainables.ts'

const RESTART_MIN_MS = 500
const RESTART_MAX_MS = 30_000
const DRAIN_MS = 10_000

/**
 * Runs the store pipelines. An exporter that cannot start is tried again while the others go on: its cursor is
 * registered, so the WAL keeps what it has not seen.
 */
export class StoreEngine {
  readonly #services: Services
  readonly #board: StatusBoard
  readonly #stopping = new AbortController()
  readonly #jobs: JobScheduler
  readonly #copier: AuditCopier
  readonly #stores: Stores = {
    exporters: () => storedExporters(this.#chains, this.#started),
    redactors: () => this.#redactors.map(redactorOf),
    redactables: () => redactablesOf(this.#chains),
    logs: () => this.#connectors().flatMap(({ stored }) => stored ?? []),
    retainables: () => retainablesOf(this.#chains, this.#connectors()),
    chains: (pipeline) =>
      this.#chains.map(({ chain }) => chain).filter((chain) => chain.pipeline === pipeline),
    route: (pipeline, exporter) => {
      if (this.#config === undefined) throw reject('NOT_FOUND', 'the store process has not started yet')
      const running = {
        config: this.#config,
        services: this.#services,
        chains: this.#chains,
        started: this.#started,
      }
      return replayRoute(running, pipeline, exporter)
    },
  }
  #config: Config | undefined
  #isBroken = false
  /** Everything of the running config; exporters that have not started yet too. */
  #nodes: Node[] = []
  #chains: readonly ChainPlan[] = []
  #redactors: readonly RedactorPlan[] = []
  readonly #started = new Set<Node>()
  readonly #attached = new Map<string, ChainPlan>()
  readonly #following = new Map<string, FollowerPlan>()
  #changing: Promise<unknown> = Promise.resolve()
  /** One at a time. */
  #repricing: Promise<unknown> = Promise.resolve()

  constructor(services: Services, board: StatusBoard) {
    this.#services = services
    this.#board = board
    this.#copier = new AuditCopier({
      ...services,
      holder: services.holder ?? randomUUID(),
      copies: () => {
        const copies = this.#stores.exporters().map(({ exporter }) => exporter.auditCopy)
        return copies.filter((copy) => copy !== undefined)
      },
    })
    this.#jobs = new JobScheduler({
      ...services,
      create: async ({ id, factory, config }) =>
        (await factory.load()).create(config, { ...contextFor(services, 'job', id), stores: this.#stores }),
    })
  }

  /** Resolves once every cursor is registered; exporters start behind it. */
  async start(config: Config): Promise<void> {
    await this.#apply(config, () => true)
    this.#copier.start()
  }

  /** Changes to `config`, or leaves the old one running and throws. */
  reload(config: Config): Promise<readonly string[]> {
    const change = this.#changing.then(() => this.#reload(config))
    this.#changing = change.catch(() => undefined)
    return change
  }

  async #reload(config: Config): Promise<readonly string[]> {
    const before = this.#config
    const known = new Set(this.#nodes.map((node) => node.key))
    try {
      // What is new must start now; what was waiting for its destination before may go on waiting.
      return await this.#apply(config, (node) => known.has(node.key))
    } catch (error) {
      this.#isBroken = true
      if (before !== undefined) await this.#apply(before, () => true)
      this.#isBroken = false
      throw error
    }
  }

  /** A reload failed and so did the way back: only a new process can run the old config. */
  get isBroken(): boolean {
    return this.#isBroken
  }

  async #apply(config: Config, mayWait: (node: Node) => boolean): Promise<readonly string[]> {
    const graph = await buildStore(config, this.#services, this.#nodes)
    const { added, removed } = difference(this.#nodes, graph.nodes)
    await this.#retire(removed, graph)
    for (const node of added.toSorted((a, b) => a.rank - b.rank)) {
      this.#nodes.push(node)
      if (node.rank === RANK.exporter && mayWait(node)) continue
      await startAll([node], this.#board)
      this.#started.add(node)
    }
    await this.#register(graph)
    this.#config = config
    this.#chains = graph.chains
    this.#redactors = graph.redactors
    this.#board.retain(graph.nodes)
    for (const plan of graph.followers) this.#follow(plan)
    for (const plan of graph.chains) this.#attach(plan)
    for (const node of added) if (!this.#started.has(node)) void this.#startExporter(node)
    const entries = catalogueOf(config, this.#services.registry)
    const jobs = await this.#jobs.apply(entries, AbortSignal.timeout(DRAIN_MS))
    return [...new Set([...added, ...removed].map((node) => node.name)), ...jobs]
  }

  #connectors(): readonly Connector[] {
    return this.#nodes.filter(({ rank }) => rank === RANK.connector).map(connectorOf)
  }

  async #retire(removed: readonly Node[], graph: StoreGraph): Promise<void> {
    const deadline = AbortSignal.timeout(DRAIN_MS)
    const wanted = new Set(graph.chains.map((plan) => plan.key))
    for (const [key, plan] of this.#attached) {
      if (wanted.has(key)) continue
      await connectorOf(plan.connector).detach(plan.chain.cursor, deadline)
      this.#attached.delete(key)
    }
    const followers = new Set(graph.followers.map((plan) => plan.key))
    for (const [key, plan] of this.#following) {
      if (followers.has(key)) continue
      await connectorOf(plan.connector).detach(plan.follower.cursor, deadline)
      this.#following.delete(key)
    }
    this.#nodes = this.#nodes.filter((node) => !removed.includes(node))
    await stopAll(removed, deadline, this.#board)
    for (const node of removed) this.#started.delete(node)
  }

  async #register(graph: StoreGraph): Promise<void> {
    for (const node of graph.nodes) {
      if (node.rank !== RANK.connector) continue
      const followers = graph.followers.filter((plan) => plan.connector === node)
      await connectorOf(node).register(
        graph.cursors.get(node.name.slice('connector:'.length)) ?? [],
        followers.map(({ follower }) => follower),
      )
    }
  }

  /** Tries until it starts or is no longer wanted. Even what says "never" may be mended meanwhile: a package, a right, a lock. */
  async #startExporter(node: Node): Promise<void> {
    this.#board.set(node.name, node.group, 'StatusStarting')
    for (let wait = RESTART_MIN_MS; this.#wants(node); wait = Math.min(wait * 2, RESTART_MAX_MS)) {
      try {
        await node.component.start?.()
        break
      } catch (error) {
        const again = faultOf(error)?.verdict.do === 'retry'
        const why = messageOf(error)
        this.#board.set(node.name, node.group, again ? 'StatusRecoverableError' : 'StatusPermanentError', why)
        this.#services.log.error({ component: node.name, error: why }, 'An exporter did not start')
        await sleep(wait * (0.5 + Math.random()), this.#stopping.signal)
      }
    }
    if (!this.#wants(node)) return void (await stopAll([node], AbortSignal.timeout(1000), this.#board))
    this.#board.set(node.name, node.group, 'StatusOK')
    this.#started.add(node)
    for (const plan of this.#chains) this.#attach(plan)
  }

  #wants(node: Node): boolean {
    return !this.#stopping.signal.aborted && this.#nodes.includes(node)
  }

  #attach(plan: ChainPlan): void {
    if (this.#attached.has(plan.key) || !this.#started.has(plan.exporter)) return
    this.#attached.set(plan.key, plan)
    connectorOf(plan.connector).attach(plan.chain)
  }

  #follow(plan: FollowerPlan): void {
    if (this.#following.has(plan.key)) return
    this.#following.set(plan.key, plan)
    connectorOf(plan.connector).follow?.(plan.follower)
  }

  poke(connectorId: string): void {
    for (const node of this.#nodes) {
      if (node.name === `connector:${connectorId}`) connectorOf(node).poke?.()
    }
  }

  async query(request: QueryRequest): Promise<QueryResult> {
    for (const node of this.#started) {
      const queryable = node.rank === RANK.exporter ? (node.component as Exporter).queryable : undefined
      if (queryable !== undefined)
        return queryable.query(request, AbortSignal.timeout(request.timeoutMs + 1000))
    }
    throw reject('NOT_FOUND', 'no exporter that can be queried (clickhouse) is running')
  }

  reprice(request: RepriceRequest): Promise<RepriceResult> {
    const job = this.#repricing.then(() =>
      repriceStored(this.#chains, this.#started, request, this.#stopping.signal),
    )
    this.#repricing = job.catch(() => undefined)
    return job
  }

  health(): StoreHealth {
    const degraded: string[] = []
    for (const node of this.#nodes) {
      if (node.rank === RANK.connector) degraded.push(...(connectorOf(node).degraded?.() ?? []))
    }
    for (const entry of this.#board.list()) {
      if (entry.error !== undefined) degraded.push(`${entry.name}: ${entry.error}`)
    }
    return { components: this.#board.list(), degraded }
  }

  /** Finishes the ranges in flight by the deadline; what is not finished stays frozen for the next start. */
  async stop(deadline: AbortSignal): Promise<readonly string[]> {
    this.#stopping.abort()
    await Promise.all([
      this.#jobs.stop(deadline),
      within(deadline, undefined, this.#copier.stop()),
      ...Array.from(this.#attached.values(), (plan) =>
        connectorOf(plan.connector).detach(plan.chain.cursor, deadline),
      ),
      ...Array.from(this.#following.values(), (plan) =>
        connectorOf(plan.connector).detach(plan.follower.cursor, deadline),
      ),
    ])
    this.#attached.clear()
    this.#following.clear()
    return stopAll([...this.#started], deadline, this.#board)
  }
}

function redactorOf({ id, node }: RedactorPlan): StoredRedactor {
  const processor = node.component as Processor
  const run = inOrder([processor])
  const redact = async (batch: Batch): Promise<void> => {
    const [first] = (await run(batch)).rejected
    if (first !== undefined) throw reject('SANITIZER_FAILED', first.reason)
  }
  return { id, rules: node.key, spares: (tenant) => processor.spares?.(tenant) ?? false, redact }
}

function redactablesOf(chains: readonly ChainPlan[]): ReadonlyMap<string, Redactable> {
  return new Map(
    chains.flatMap(({ chain, exporter }) => {
      const { redactable } = exporter.component as Exporter
      return redactable === undefined ? [] : [[chain.exporterId, redactable] as const]
    }),
  )
}

function storedExporters(
  chains: readonly ChainPlan[],
  started: ReadonlySet<Node>,
): readonly StoredExporter[] {
  const found = new Map<Node, StoredExporter>()
  for (const { chain, exporter } of chains) {
    if (!started.has(exporter)) continue
    const pipelines = [...(found.get(exporter)?.pipelines ?? []), chain.pipeline]
    found.set(exporter, { id: chain.exporterId, pipelines, exporter: exporter.component as Exporter })
  }
  return [...found.values()]
}
