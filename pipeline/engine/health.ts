import type { Component } from '../component.ts'
import type { Config } from '../config.ts'
import { messageOf, retry } from '../fault.ts'
import type { ComponentHealth, Health } from '../host.ts'
import { within } from '../state/deadline.ts'
import type { StoreHealth } from '../store/protocol.ts'
import type { IntakeGraph } from './build-intake.ts'
import { RANK } from './node.ts'
import { isStorePipeline } from './services.ts'

const PROBE_MS = 2000

interface Facts {
  readonly startedAtMs: number
  readonly config: Config | undefined
  readonly isServing: boolean
}

/**
 * Ready means: what is acknowledged now can be stored now. So every sink of an ingest pipeline is probed; a store
 * process that is down only degrades, because the WAL keeps what it has not seen.
 */
export async function healthOf(
  graph: IntakeGraph,
  mine: readonly ComponentHealth[],
  store: StoreHealth | undefined,
  facts: Facts,
): Promise<Health> {
  const sinks = graph.nodes.filter((node) => node.rank === RANK.connector || node.rank === RANK.exporter)
  const troubles = new Map<string, string>()
  await Promise.all(
    sinks.map(async ({ name, component }) => {
      try {
        await probe(component)
      } catch (error) {
        troubles.set(name, messageOf(error))
      }
    }),
  )
  const components = mine.map((entry) => withTrouble(entry, troubles.get(entry.name)))
  // A component that a failed reload could not put back: something that should run does not.
  const isWhole = mine.every(({ status }) => status !== 'StatusFatalError')
  const { config } = facts
  return {
    ready: facts.isServing && isWhole && troubles.size === 0,
    degraded: [...[...troubles].map(([name, why]) => `${name}: ${why}`), ...(store?.degraded ?? [])],
    startedAtMs: facts.startedAtMs,
    components: [
      ...inEveryPipeline(components, config, false),
      ...inEveryPipeline(store?.components ?? [], config, true),
    ],
    durability: [...graph.connectors].flatMap(([id, { durability }]) =>
      durability === undefined ? [] : [{ connector: id, mode: durability.mode, proof: durability.proof }],
    ),
    configDigest: config?.digest ?? '',
  }
}

function withTrouble(entry: ComponentHealth, why: string | undefined): ComponentHealth {
  return why === undefined || entry.status !== 'StatusOK'
    ? entry
    : { ...entry, status: 'StatusRecoverableError', error: why }
}

async function probe(component: Component): Promise<void> {
  const asked = component.probe?.(AbortSignal.timeout(PROBE_MS))
  const late = (): Error => retry('CANCELLED', `no answer within ${PROBE_MS} ms`)
  if (asked !== undefined) await within(PROBE_MS, asked, late)
}

/** A receiver, exporter or connector that several pipelines name stands in each of their groups. */
function inEveryPipeline(
  entries: readonly ComponentHealth[],
  config: Config | undefined,
  store: boolean,
): ComponentHealth[] {
  if (config === undefined) return [...entries]
  const pipelines = [...config.service.pipelines.values()].filter(
    (pipeline) => isStorePipeline(config, pipeline) === store,
  )
  return entries.flatMap((entry) => {
    const [kind = '', id = ''] = entry.name.split(/:(.*)/s)
    if (kind === 'processor') return [entry]
    const groups = pipelines
      .filter(({ receivers, exporters }) => kind !== 'extension' && [...receivers, ...exporters].includes(id))
      .map((pipeline) => `pipeline:${pipeline.id}`)
    return [...new Set([entry.group, ...groups])].map((group) => ({ ...entry, group }))
  })
}
