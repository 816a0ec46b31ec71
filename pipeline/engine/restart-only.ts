import type { Config } from '../config.ts'
import { reject } from '../fault.ts'
import type { Log } from '../telemetry/log.ts'
import { stateComponent, stateConfig } from './process-services.ts'

/** Throws for what cannot change under a running daemon: where acknowledged data rests, and what a process has one of. */
export function refuseRestartOnly(before: Config, after: Config): void {
  const keys = [
    ...(sameState(before, after) ? [] : ['the state extension']),
    ...telemetryChanges(before, after),
    ...walChanges(before, after),
  ]
  if (keys.length === 0) return
  throw reject('CONFIG_INVALID', `${keys.join(', ')} cannot change under a running daemon: restart it`)
}

/** By what was written, too: values hide their secrets, and a master key is one. */
function sameState(before: Config, after: Config): boolean {
  if (!same(stateConfig(before), stateConfig(after))) return false
  const [old, next] = [stateComponent(before), stateComponent(after)]
  return old === undefined || next === undefined || old.key === next.key
}

function telemetryChanges(before: Config, after: Config): string[] {
  const [old, next] = [before.service.telemetry, after.service.telemetry]
  const changed = [
    same(old.logs.encoding, next.logs.encoding) ? undefined : 'logs.encoding',
    same(old.traces, next.traces) ? undefined : 'traces',
    same(old.resource, next.resource) ? undefined : 'resource',
  ]
  return changed.filter((key) => key !== undefined).map((key) => `service.telemetry.${key}`)
}

/** What says where a WAL is. Its other keys may change: its reader and writer are replaced, its data stays. */
const PLACE = ['driver', 'directory', 'servers', 'stream', 'subject_prefix'] as const

function walChanges(before: Config, after: Config): string[] {
  return [...before.connectors].flatMap(([id, { value }]) => {
    const next = after.connectors.get(id)
    if (next === undefined) return []
    return PLACE.filter((key) => !same(fieldOf(value, key), fieldOf(next.value, key))).map(
      (key) => `connectors.${id}.${key}`,
    )
  })
}

/**
 * Cursors and leases rest in the state store. With one of its own, each daemon on a shared stream has cursors of its
 * own, so every daemon delivers every span.
 */
export function warnOfLonelyState(config: Config, log: Log): void {
  if (stateConfig(config).driver !== 'embedded') return
  for (const [id, { value }] of config.connectors) {
    if (fieldOf(value, 'driver') !== 'jetstream') continue
    log.warn(
      { connector: id, stream: fieldOf(value, 'stream') },
      'The WAL is in JetStream but the state is on this machine only: a second daemon on this stream would deliver ' +
        'everything twice. Give all of them the state extension with driver: jetstream',
    )
  }
}

function same(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

function fieldOf(value: unknown, key: string): unknown {
  return typeof value === 'object' && value !== null ? (value as Record<string, unknown>)[key] : undefined
}
