import { inOrder } from '../chain.ts'
import type { Exporter, Processor } from '../component.ts'
import type { Config, PipelineConfig } from '../config.ts'
import { RANK, type Node } from '../engine/node.ts'
import { componentOf, contextFor, factoryOf, isStorePipeline, type Services } from '../engine/services.ts'
import type { Connector, StoreChain } from '../factory.ts'
import { reject } from '../fault.ts'
import { observeExporter, observeProcessor } from '../telemetry/observe.ts'

/** Everything the store process runs: one chain per exporter of each store pipeline. */
export interface StoreGraph {
  readonly nodes: readonly Node[]
  readonly chains: readonly ChainPlan[]
  /** Every cursor that the config has, by connector id. */
  readonly cursors: ReadonlyMap<string, readonly string[]>
}

export interface ChainPlan {
  /** Equal keys: the same cursor driving the same components. */
  readonly key: string
  readonly chain: StoreChain
  readonly connector: Node
  readonly exporter: Node
}

/** Builds without any I/O; components whose key is running already are taken over. */
export function buildStore(config: Config, services: Services, running: readonly Node[]): StoreGraph {
  const nodes = new Map<string, Node>()
  const known = new Map(running.map((node) => [node.key, node]))
  const node: NodeMaker = (name, group, rank, configKey, create) => {
    const key = `${name}:${configKey}`
    const made = nodes.get(key) ?? known.get(key) ?? { name, group, key, rank, component: create() }
    nodes.set(key, made)
    return made
  }
  const chains: ChainPlan[] = []
  for (const pipeline of config.service.pipelines.values()) {
    if (isStorePipeline(config, pipeline)) chains.push(...pipelineChains(config, services, pipeline, node))
  }
  const cursors = new Map<string, string[]>()
  for (const plan of chains) {
    const id = plan.connector.name.slice('connector:'.length)
    cursors.set(id, [...(cursors.get(id) ?? []), plan.chain.cursor])
  }
  return { nodes: [...nodes.values()], chains, cursors }
}

type NodeMaker = (
  name: string,
  group: string,
  rank: number,
  configKey: string,
  create: () => Node['component'],
) => Node

function pipelineChains(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  node: NodeMaker,
): ChainPlan[] {
  const connectorId = theConnector(config, pipeline)
  const component = componentOf(config.connectors, connectorId, pipeline.id)
  const connector = node(
    `connector:${connectorId}`,
    `pipeline:${pipeline.id}`,
    RANK.connector,
    component.key,
    () =>
      factoryOf(services.registry.connectors, component).create(component.value, {
        ...contextFor(services, 'connector', connectorId),
        role: 'store',
        onAppended: () => undefined,
        ...(services.holder === undefined ? {} : { holder: services.holder }),
      }),
  )
  return pipeline.exporters.map((exporterId, index) =>
    chainTo(config, services, pipeline, node, connector, exporterId, index === 0),
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

function chainTo(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  node: NodeMaker,
  connector: Node,
  exporterId: string,
  first: boolean,
): ChainPlan {
  const cursor = `${pipeline.id}/${exporterId}`
  const component = componentOf(config.exporters, exporterId, pipeline.id)
  const exporter = node(
    `exporter:${exporterId}`,
    `pipeline:${pipeline.id}`,
    RANK.exporter,
    component.key,
    () =>
      factoryOf(services.registry.exporters, component).create(
        component.value,
        contextFor(services, 'exporter', exporterId),
      ),
  )
  const processors = processorsOf(config, services, pipeline, node, cursor, first)
  const observed = processors.map((made) =>
    observeProcessor(made.component as Processor, made.name.slice('processor:'.length), services.meter),
  )
  return {
    key: [cursor, ...[connector, ...processors, exporter].map((part) => part.key)].join('\n'),
    connector,
    exporter,
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
function processorsOf(
  config: Config,
  services: Services,
  pipeline: PipelineConfig,
  node: NodeMaker,
  cursor: string,
  first: boolean,
): Node[] {
  return pipeline.processors.map((id, index) => {
    const made = componentOf(config.processors, id, pipeline.id)
    return node(
      `processor:${id}`,
      `pipeline:${pipeline.id}`,
      RANK.processor,
      `${cursor}#${index}:${first}:${made.key}`,
      () =>
        factoryOf(services.registry.processors, made).create(made.value, {
          ...contextFor(services, 'processor', id),
          counts: first,
        }),
    )
  })
}

export function connectorOf(node: Node): Connector {
  return node.component as Connector
}
