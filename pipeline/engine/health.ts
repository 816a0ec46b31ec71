import type { ComponentHealth, Health } from '../host.ts'
import { messageOf } from '../fault.ts'
import type { StoreHealth } from '../store/protocol.ts'
import type { IntakeGraph } from './build-intake.ts'
import { RANK } from './node.ts'

const PROBE_MS = 2000

interface Facts {
  readonly startedAtMs: number
  readonly configDigest: string
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
        await component.probe?.(AbortSignal.timeout(PROBE_MS))
      } catch (error) {
        troubles.set(name, messageOf(error))
      }
    }),
  )
  const components = mine.map((entry) => withTrouble(entry, troubles.get(entry.name)))
  return {
    ready: facts.isServing && troubles.size === 0,
    degraded: [...[...troubles].map(([name, why]) => `${name}: ${why}`), ...(store?.degraded ?? [])],
    startedAtMs: facts.startedAtMs,
    components: [...components, ...(store?.components ?? [])],
    durability: [...graph.connectors].flatMap(([id, connector]) => {
      const durability = connector.durability?.()
      return durability === undefined
        ? []
        : [{ connector: id, mode: durability.mode, proof: durability.proof }]
    }),
    configDigest: facts.configDigest,
  }
}

function withTrouble(entry: ComponentHealth, why: string | undefined): ComponentHealth {
  return why === undefined || entry.status !== 'StatusOK'
    ? entry
    : { ...entry, status: 'StatusRecoverableError', error: why }
}
