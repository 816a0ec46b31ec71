import { inOrder } from '../chain.ts'
import type { Exporter, Processor } from '../component.ts'
import type { Config, PipelineConfig } from '../config.ts'
import { NodeSet } from '../engine/node-set.ts'
import { RANK, type Node } from '../engine/node.ts'
import { aheadOf, afterOf, type Follower } from '../follower.ts'
import { componentOf, contextFor, factoryOf, isStorePipeline, type Services } from '../engine/services.ts'
import { cursorName, type Connector, type StoreChain } from '../factory.ts'
import { reject } from '../fault.ts'
import { observeExporter, observeProcessor } from '../telemetry/observe.ts'

/** Everything the store process runs: one chain per exporter of each store pipeline. */
export interface StoreGraph {
  readonly nodes: readonly Node[]
  readonly chains: readonly ChainPlan[]
  readonly followers: readonly FollowerPlan[]
  /** Those of the ingest pipelines, each set of rules once. */
  readonly redactors: readonly RedactorPlan[]
  /** Every cursor that the config has, by connector id. */
  readonly cursors: ReadonlyMap<string, readonly string[]>
}

export interface ChainPlan {
  /** Equal keys: the same cursor driving the same components. */
  readonly key: string
  readonly chain: StoreChain
  readonly connector: Node
  readonly exporter: Node
  /** Those of the chain, as they are, not as they are observed. */
  readonly processors: readonly Node[]
}

/** A processor that redacts, for what is stored. */
export interface RedactorPlan {
  readonly id: string
  readonly node: Node
}

/** Who reads the log of a pipeline ahead of its chains. */
export interface FollowerPlan {
  readonly key: string
  readonly follower: Follower
  readonly connector: Node
}

/** Loads the code of what is new and builds it, without any other I/O; components whose key is running already are taken over. */
export async function buildStore(
  config: Config,
  services: Services,
  running: readonly Node[],
): Promise<StoreGraph> {
  const nodes = new NodeSet(running)
  const chains: ChainPlan[] = []
  const followers: FollowerPlan[] = []
  const redactors = new Map<Node, RedactorPlan>()
  for (const pipeline of config.service.pipelines.values()) {
    if (!isStorePipeline(config, pipeline)) {
      followers.push(...(await aftersOf(config, services, pipeline, nodes)))
      for (const plan of await redactorsOf(config, services, pipeline, nodes)) redactors.set(plan.node, plan)
      continue
    }
    const connector = await connectorNode(
      config,
      services,
      theConnector(config, pipeline),
      pipeline.id,
      nodes,
    )
    for (const [index, exporterId] of pipeline.exporters.entries()) {
      chains.push(await chainTo(config, services, pipeline, nodes, connector, exporterId, index === 0))
    }
    followers.push(...(await followersOf(config, services, pipeline, nodes, connector)))
  }
  const cursors = new Map<string, string[]>()
  for (const plan of chains) {
    const id = plan.connector.name.slice('connector:'.length)
    cursors.set(id, [...(cursors.get(id) ?? []), plan.chain.cursor])
  }
  return { nodes: nodes.all, chains, followers, redactors: [...redactors.values()], cursors }
}

function connectorNode(
  config: Config,
  services: Services,
  connectorId: string,
  where: string,
  nodes: NodeSet,
): Promise<Node> {
  const component = componentOf(config.connectors, connectorId, where)
  const factory = factoryOf(services.registry.connectors, component)
  return nodes.make(
    `connector:${connectorId}`,
    `pipeline:${where}`,
    RANK.connector,
    component.key,
    { load: () => factory.load(component.value, 'store') },
    (maker) =>
      maker.create(component.value, {
        ...contextFor(services, 'connector', connectorId),
        role: 'store',
        onAppended: () => undefined,
        ...(services.holder === undefined ? {} : { holder: services.holder }),
      }),
  )
}

function theConnector(config: Config, pipeline: PipelineConfig): string {
  const [id, ...others] = pipeline.receivers
  if (id === undefined || others.length > 0) {
    throw reject(
      'CONFIG_INVALID',
      `pipeline ${pipeline.id} reads from a connector and must have it as its only receiver`,
    )
  }
  const sink = pipeline.exporters.find((exporter) => config.connectors.has(exporter))
  if (sink !== undefined) {
    throw reject(
      'CONFIG_INVALID',
      `pipeline ${pipeline.id} reads from "${id}" and may not write to connector "${sink}"`,
    )
  }
  return id
}

async function chainTo(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  nodes: NodeSet,
  connector: Node,
  exporterId: string,
  first: boolean,
): Promise<ChainPlan> {
  const cursor = cursorName(pipeline.id, exporterId)
  const component = componentOf(config.exporters, exporterId, pipeline.id)
  const exporter = await nodes.make(
    `exporter:${exporterId}`,
    `pipeline:${pipeline.id}`,
    RANK.exporter,
    component.key,
    factoryOf(services.registry.exporters, component),
    (maker) => maker.create(component.value, contextFor(services, 'exporter', exporterId)),
  )
  const processors = await processorsOf(config, services, pipeline, nodes, cursor, first)
  const observed = processors.map((made) =>
    observeProcessor(made.component as Processor, made.name.slice('processor:'.length), services.meter),
  )
  return {
    key: [cursor, ...[connector, ...processors, exporter].map((part) => part.key)].join('\n'),
    connector,
    exporter,
    processors,
    chain: {
      cursor,
      pipeline: pipeline.id,
      exporterId,
      process: inOrder(observed),
      exporter: observeExporter(exporter.component as Exporter, exporterId, services.meter, {
        tracing: services.tracing,
      }),
      first,
    },
  }
}

/** Processors are a chain's own, as they may hold state. */
async function processorsOf(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  nodes: NodeSet,
  cursor: string,
  counts: boolean,
  ids: readonly string[] = pipeline.processors,
): Promise<Node[]> {
  const behind = { connector: theConnector(config, pipeline), pipeline: pipeline.id }
  const made: Node[] = []
  for (const [index, id] of ids.entries()) {
    const component = componentOf(config.processors, id, pipeline.id)
    const created = await nodes.make(
      `processor:${id}`,
      `pipeline:${pipeline.id}`,
      RANK.processor,
      `${cursor}#${index}:${counts}:${component.key}`,
      factoryOf(services.registry.processors, component),
      (maker) => maker.create(component.value, { ...contextFor(services, 'processor', id), counts, behind }),
    )
    made.push(created)
  }
  return made
}

/** One for each processor that reads ahead: it sees what the processors before it leave, in instances of their own. */
async function followersOf(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  nodes: NodeSet,
  connector: Node,
): Promise<FollowerPlan[]> {
  const plans: FollowerPlan[] = []
  for (const [index, id] of pipeline.processors.entries()) {
    const made = componentOf(config.processors, id, pipeline.id)
    const factory = factoryOf(services.registry.processors, made)
    if (factory.readsAhead?.(made.value) !== true) continue
    const name = aheadOf(id)
    const cursor = cursorName(pipeline.id, name)
    const ids = pipeline.processors.slice(0, index + 1)
    const processors = await processorsOf(config, services, pipeline, nodes, cursor, false, ids)
    const worker = (processors.at(-1)?.component as Processor | undefined)?.ahead
    if (worker === undefined) continue
    const before = processors.slice(0, -1).map((one) => one.component as Processor)
    const behind = pipeline.exporters.map((exporter) => cursorName(pipeline.id, exporter))
    const follower = { cursor, pipeline: pipeline.id, name, behind, process: inOrder(before), worker }
    const key = [cursor, ...behind, connector.key, ...processors.map((one) => one.key)].join('\n')
    plans.push({ key, connector, follower })
  }
  return plans
}

/** One for each processor of an ingest pipeline that does something with what the pipeline has stored. */
async function aftersOf(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  nodes: NodeSet,
): Promise<FollowerPlan[]> {
  const connectorId = pipeline.exporters.find((id) => config.connectors.has(id))
  if (connectorId === undefined) return []
  const plans: FollowerPlan[] = []
  for (const id of pipeline.processors) {
    const made = componentOf(config.processors, id, pipeline.id)
    const maker = await factoryOf(services.registry.processors, made).loadAfterwards?.()
    if (maker === undefined) continue
    const connector = await connectorNode(config, services, connectorId, pipeline.id, nodes)
    const { stored } = connectorOf(connector)
    const context = contextFor(services, 'processor', id)
    const worker =
      stored === undefined ? undefined : maker.create(made.value, context, stored, pipeline.receivers)
    if (worker === undefined) continue
    const name = afterOf(id)
    const cursor = cursorName(pipeline.id, name)
    const follower = { cursor, pipeline: pipeline.id, name, behind: [], process: () => undefined, worker }
    const key = [cursor, ...pipeline.receivers, connector.key, made.key].join('\n')
    plans.push({ key, connector, follower })
  }
  return plans
}

/** Only where something is stored behind the pipeline's log. Counted where they take part in intake, not here. */
async function redactorsOf(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  nodes: NodeSet,
): Promise<RedactorPlan[]> {
  if (!pipeline.exporters.some((id) => config.connectors.has(id))) return []
  const plans: RedactorPlan[] = []
  for (const id of pipeline.processors) {
    const made = componentOf(config.processors, id, pipeline.id)
    const factory = factoryOf(services.registry.processors, made)
    if (factory.redacts !== true) continue
    const context = { ...contextFor(services, 'processor', id), counts: false }
    const key = `stored:${made.key}`
    const created = await nodes.make(`processor:${id}`, 'stored', RANK.processor, key, factory, (maker) =>
      maker.create(made.value, context),
    )
    plans.push({ id, node: created })
  }
  return plans
}

export function connectorOf(node: Node): Connector {
  return node.component as Connector
}
