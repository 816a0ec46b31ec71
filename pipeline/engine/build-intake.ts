import type { Entry } from '../admission.ts'
import type { Batch } from '../batch/batch.ts'
import { chain, entry, fanOut } from '../chain.ts'
import type { ArtifactShelf } from '../artifact.ts'
import type { Component, Exporter, Processor } from '../component.ts'
import type { Config, PipelineConfig } from '../config.ts'
import type { Consumer } from '../consumer.ts'
import { EntrySwitch } from '../entry-switch.ts'
import type { Connector } from '../factory.ts'
import type { Host } from '../host.ts'
import { observeExporter, observeProcessor, observeReceiver } from '../telemetry/observe.ts'
import { NodeSet } from './node-set.ts'
import { RANK, type Node } from './node.ts'
import { componentOf, contextFor, factoryOf, isStorePipeline, type Services } from './services.ts'

/** Everything the main process runs: receivers, ingest pipelines, the WAL's intake side, extensions. */
export interface IntakeGraph {
  readonly nodes: readonly Node[]
  /** By receiver id: where it delivers now. */
  readonly entries: ReadonlyMap<string, Entry>
  /** By receiver id: what it holds for its whole life. */
  readonly switches: ReadonlyMap<string, EntrySwitch>
  readonly connectors: ReadonlyMap<string, Connector>
  readonly shelves: readonly ArtifactShelf[]
}

export const EMPTY_INTAKE: IntakeGraph = {
  nodes: [],
  entries: new Map(),
  switches: new Map(),
  connectors: new Map(),
  shelves: [],
}

/**
 * Loads the code of what is new and builds it, without any other I/O; components whose key is already running in
 * `current` are taken over.
 */
export function buildIntake(
  config: Config,
  services: Services,
  host: Host,
  current: IntakeGraph,
): Promise<IntakeGraph> {
  const builder = new IntakeBuilder(config, services, host, current)
  return builder.build()
}

class IntakeBuilder {
  readonly #config: Config
  readonly #services: Services
  readonly #host: Host
  readonly #current: IntakeGraph
  readonly #nodes: NodeSet
  readonly #connectors = new Map<string, Connector>()
  readonly #switches = new Map<string, EntrySwitch>()
  readonly #shelves: ArtifactShelf[] = []

  constructor(config: Config, services: Services, host: Host, current: IntakeGraph) {
    this.#config = config
    this.#services = services
    this.#host = host
    this.#current = current
    this.#nodes = new NodeSet(current.nodes)
  }

  async build(): Promise<IntakeGraph> {
    const pipelines = [...this.#config.service.pipelines.values()].filter(
      (p) => !isStorePipeline(this.#config, p),
    )
    const targets = new Map<string, Entry[]>()
    for (const pipeline of pipelines) {
      const target = await this.#pipeline(pipeline)
      for (const id of pipeline.receivers) targets.set(id, [...(targets.get(id) ?? []), target])
    }
    const entries = new Map([...targets].map(([id, list]) => [id, joinEntries(list)]))
    for (const pipeline of pipelines) {
      for (const id of pipeline.receivers)
        await this.#receiver(id, pipeline, entries.get(id)?.authenticated === true)
    }
    for (const pipeline of this.#config.service.pipelines.values()) {
      for (const id of pipeline.processors) await this.#shelf(id, pipeline)
    }
    for (const id of this.#config.service.extensions) await this.#extension(id)
    return {
      nodes: this.#nodes.all,
      entries,
      switches: this.#switches,
      connectors: this.#connectors,
      shelves: this.#shelves,
    }
  }

  async #pipeline(pipeline: PipelineConfig): Promise<Entry> {
    const processors: Processor[] = []
    for (const id of pipeline.processors) {
      processors.push(await this.#processor(pipeline, id, processors.length))
    }
    const sinks: Consumer[] = []
    for (const id of pipeline.exporters) sinks.push(await this.#sink(id, pipeline))
    const authenticated = pipeline.processors.some((id) => this.#config.processors.get(id)?.type === 'auth')
    const lookbacks = pipeline.exporters.map((id) => this.#connectors.get(id)?.lookback)
    return entry(processors, chain(processors, fanOut(sinks)), {
      authenticated,
      lookback: lookbacks.length === 1 ? lookbacks[0] : undefined,
    })
  }

  async #processor(pipeline: PipelineConfig, id: string, index: number): Promise<Processor> {
    const component = componentOf(this.#config.processors, id, pipeline.id)
    const node = await this.#nodes.make(
      `processor:${id}`,
      `pipeline:${pipeline.id}`,
      RANK.processor,
      `${pipeline.id}#${index}:${component.key}`,
      factoryOf(this.#services.registry.processors, component),
      (maker) => maker.create(component.value, contextFor(this.#services, 'processor', id)),
    )
    return observeProcessor(node.component as Processor, id, this.#services.meter)
  }

  async #sink(id: string, pipeline: PipelineConfig): Promise<Consumer> {
    const connector = this.#config.connectors.get(id)
    if (connector === undefined) {
      const component = componentOf(this.#config.exporters, id, pipeline.id)
      const node = await this.#nodes.make(
        `exporter:${id}`,
        `pipeline:${pipeline.id}`,
        RANK.exporter,
        component.key,
        factoryOf(this.#services.registry.exporters, component),
        (maker) => maker.create(component.value, contextFor(this.#services, 'exporter', id)),
      )
      return observeExporter(node.component as Exporter, id, this.#services.meter, {
        bisected: false,
        tracing: this.#services.tracing,
      })
    }
    const factory = factoryOf(this.#services.registry.connectors, connector)
    const node = await this.#nodes.make(
      `connector:${id}`,
      `pipeline:${pipeline.id}`,
      RANK.connector,
      connector.key,
      { load: () => factory.load(connector.value, 'intake') },
      (maker) =>
        maker.create(connector.value, {
          ...contextFor(this.#services, 'connector', id),
          role: 'intake',
          onAppended: () => this.#services.onAppended(id),
        }),
    )
    this.#connectors.set(id, node.component as Connector)
    return (node.component as Connector).intake
  }

  async #receiver(id: string, pipeline: PipelineConfig, authenticated: boolean): Promise<void> {
    if (this.#switches.has(id)) return
    const component = componentOf(this.#config.receivers, id, 'service.pipelines')
    // Where it may listen depends on whether senders are asked who they are, and it looks only when it starts.
    const configKey = `${authenticated ? 'closed' : 'open'}:${component.key}`
    const key = `receiver:${id}:${configKey}`
    const kept = this.#nodes.isRunning(key) ? this.#current.switches.get(id) : undefined
    const target = kept ?? new EntrySwitch()
    this.#switches.set(id, target)
    await this.#nodes.make(
      `receiver:${id}`,
      `pipeline:${pipeline.id}`,
      RANK.receiver,
      configKey,
      factoryOf(this.#services.registry.receivers, component),
      (maker) =>
        maker.create(
          component.value,
          contextFor(this.#services, 'receiver', id),
          observeReceiver(target, id, this.#services.meter, { tracing: this.#services.tracing }),
        ),
    )
  }

  /** Not on the data's path, as extensions are not: one per processor, in whichever pipelines it stands. */
  async #shelf(id: string, pipeline: PipelineConfig): Promise<void> {
    const component = componentOf(this.#config.processors, id, pipeline.id)
    const factory = factoryOf(this.#services.registry.processors, component)
    const load = factory.loadShelf?.bind(factory)
    if (load === undefined || this.#shelves.some((each) => each.id === id)) return
    const node = await this.#nodes.make(
      `shelf:${id}`,
      'extensions',
      RANK.extension,
      component.key,
      { load },
      (maker) => maker.create(component.value, contextFor(this.#services, 'processor', id)),
    )
    this.#shelves.push(node.component as ArtifactShelf & Component)
  }

  async #extension(id: string): Promise<void> {
    const component = componentOf(this.#config.extensions, id, 'service.extensions')
    // The state store is opened before anything else and belongs to the process (design section 7).
    if (component.type === 'state') return
    await this.#nodes.make(
      `extension:${id}`,
      'extensions',
      RANK.extension,
      component.key,
      factoryOf(this.#services.registry.extensions, component),
      (maker) => maker.create(component.value, contextFor(this.#services, 'extension', id), this.#host),
    )
  }
}

/**
 * One receiver in several pipelines: the first pipeline admits for all of them, every pipeline gets the batch, and what the
 * receiver keeps is what all that redact leave of it.
 */
function joinEntries(entries: readonly Entry[]): Entry {
  const [first, ...others] = entries
  if (first === undefined) throw new Error('a receiver without a pipeline was built')
  if (others.length === 0) return first
  const all = fanOut(entries)
  const redactions = entries.flatMap(({ redact }) => redact ?? [])
  return {
    authenticated: entries.every((each) => each.authenticated === true),
    admit: (head) => first.admit(head),
    consume: (batch, signal) => all.consume(batch, signal),
    ...(redactions.length > 0 && {
      async redact(batch: Batch) {
        for (const redact of redactions) await redact(batch)
      },
    }),
  }
}
