import type { Exporter, Processor } from '../component.ts'
import type { Config } from '../config.ts'
import type { Node } from '../engine/node.ts'
import { componentOf, contextFor, factoryOf, type Services } from '../engine/services.ts'
import { reject, retry } from '../fault.ts'
import type { ReplayRoute } from '../jobs/job.ts'
import { connectorOf, type ChainPlan } from './build-store.ts'
import { repriceStored } from './reprice-stored.ts'

interface Running {
  readonly config: Config
  readonly services: Services
  readonly chains: readonly ChainPlan[]
  readonly started: ReadonlySet<Node>
}

/** From a log through a pipeline's processors into one of its exporters. REQUEST_INVALID names what there is to choose from. */
export function replayRoute(running: Running, pipeline: string, exporterId: string | undefined): ReplayRoute {
  const { chains, started, config, services } = running
  const plan = planOf(chains, pipeline, exporterId)
  const { chain, connector, exporter } = plan
  const connectorId = connector.name.slice('connector:'.length)
  const log = connectorOf(connector).stored
  if (!started.has(exporter) || log === undefined) {
    const why = `exporter ${chain.exporterId} does not run here now: its health says why`
    throw retry('EXPORT_UNAVAILABLE', why)
  }
  return {
    cursor: chain.cursor,
    pipeline,
    exporterId: chain.exporterId,
    exporter: exporter.component as Exporter,
    log,
    feeders: chains
      .filter((other) => other.exporter === exporter)
      .map((other) => ({
        connector: other.connector.name.slice('connector:'.length),
        cursor: other.chain.cursor,
      })),
    processors: (source) => processorsFor(config, services, pipeline, connectorId, source),
    reprice: (request, signal) =>
      repriceStored(chains, started, { ...request, exporter: chain.exporterId }, signal),
  }
}

function planOf(chains: readonly ChainPlan[], pipeline: string, exporterId: string | undefined): ChainPlan {
  const mine = chains.filter(({ chain }) => chain.pipeline === pipeline)
  const names = (list: readonly string[]) => [...new Set(list)].join(', ') || 'none'
  if (mine.length === 0) {
    const known = names(chains.map(({ chain }) => chain.pipeline))
    throw reject('REQUEST_INVALID', `there is no pipeline ${pipeline} behind a WAL here; there are: ${known}`)
  }
  const exporters = names(mine.map(({ chain }) => chain.exporterId))
  const [only, ...others] = mine
  if (exporterId === undefined) {
    if (only !== undefined && others.length === 0) return only
    throw reject('REQUEST_INVALID', `pipeline ${pipeline} has several exporters: name one of ${exporters}`)
  }
  const found = mine.find(({ chain }) => chain.exporterId === exporterId)
  if (found !== undefined) return found
  throw reject('REQUEST_INVALID', `pipeline ${pipeline} has no exporter ${exporterId}, but ${exporters}`)
}

/**
 * Instances of their own: what a replay passes through them is counted nowhere twice. What reads the WAL ahead of the
 * cursors knows nothing of spans from elsewhere: an archive's have passed it, or never will.
 */
async function processorsFor(
  config: Config,
  services: Services,
  pipeline: string,
  connector: string,
  source: 'log' | 'archive',
): Promise<Processor[]> {
  const ids = config.service.pipelines.get(pipeline)?.processors ?? []
  const processors: Processor[] = []
  for (const id of ids) {
    const made = componentOf(config.processors, id, pipeline)
    const factory = factoryOf(services.registry.processors, made)
    if (source === 'archive' && factory.readsAhead?.(made.value) === true) continue
    const context = {
      ...contextFor(services, 'processor', id),
      counts: false,
      behind: { connector, pipeline },
    }
    processors.push((await factory.load()).create(made.value, context))
  }
  return processors
}
