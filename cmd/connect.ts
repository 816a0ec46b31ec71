import type { Config } from '../pipeline/config.ts'
import type { Component } from '../pipeline/component.ts'
import { contextFor, factoryOf, type Services } from '../pipeline/engine/services.ts'
import { stateConfig } from '../pipeline/engine/process-services.ts'
import { faultOf, messageOf, type FaultCode } from '../pipeline/fault.ts'
import type { Registry } from '../pipeline/factory.ts'
import { NOBODY_KNOWN } from '../pipeline/identity/view.ts'
import { ByteGate } from '../pipeline/intake.ts'
import { Pressure } from '../pipeline/pressure.ts'
import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { ListenerPool } from '../pipeline/net/listener-pool.ts'
import { createStateStore } from '../pipeline/state/create.ts'
import { createLogger } from '../pipeline/telemetry/logger.ts'
import { Pseudonyms } from '../pipeline/privacy/pseudonyms.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { named } from './named.ts'

/** Whether one thing that a config depends on can be reached. */
export interface Connection {
  /** `extensions.state`, `connectors.wal`, `exporters.clickhouse`, … */
  readonly component: string
  readonly ok: boolean
  readonly code?: FaultCode
  readonly error?: string
}

/** Per component: connecting, and what `start` prepares. */
const LIMIT_MS = 20_000
const STOP_MS = 5000

/**
 * Starts what the pipelines write to as `run` would, asks each whether it can work, and stops it again. What is missing
 * (a stream, a table, a directory) is made, as by `run`; nothing listens, and nothing is written to the WAL.
 */
export async function probeAll(config: Config, registry: Registry): Promise<Connection[]> {
  const log = createLogger({ level: 'warn', encoding: 'console', resource: {} })
  const state = await createStateStore(stateConfig(config), log)
  const services: Services = {
    registry,
    log,
    meter: createMeter(),
    clock: Date.now,
    state,
    // Nothing that is probed here asks who sends.
    identity: NOBODY_KNOWN,
    listeners: new ListenerPool({ log }),
    intake: new ByteGate(0),
    pressure: new Pressure(),
    usage: NO_USAGE,
    tracing: undefined,
    pseudonyms: new Pseudonyms(),
    onAppended: () => undefined,
  }
  const results = [
    await attempt('extensions.state', { start: () => state.open(), stop: () => Promise.resolve() }),
  ]
  for (const [name, create] of sinks(config, services)) results.push(await attemptCreated(name, create))
  await state.close()
  return results
}

type Sink = readonly [name: string, create: () => Promise<Component>]

/** The connectors and exporters that some pipeline names. */
function sinks(config: Config, services: Services): Sink[] {
  const connectors = named(config, 'connectors').map((component): Sink => {
    const context = {
      ...contextFor(services, 'connector', component.id),
      role: 'intake' as const,
      onAppended: () => undefined,
    }
    const factory = factoryOf(services.registry.connectors, component)
    return [
      `connectors.${component.id}`,
      async () => (await factory.load(component.value, 'intake')).create(component.value, context),
    ]
  })
  const exporters = named(config, 'exporters').map((component): Sink => {
    const factory = factoryOf(services.registry.exporters, component)
    const context = contextFor(services, 'exporter', component.id)
    return [`exporters.${component.id}`, async () => (await factory.load()).create(component.value, context)]
  })
  return [...connectors, ...exporters]
}

async function attemptCreated(name: string, create: () => Promise<Component>): Promise<Connection> {
  try {
    return await attempt(name, await create())
  } catch (error) {
    return failure(name, error)
  }
}

async function attempt(name: string, component: Component): Promise<Connection> {
  try {
    await before(LIMIT_MS, (async () => component.start?.())())
    await component.probe?.(AbortSignal.timeout(LIMIT_MS))
    return { component: name, ok: true }
  } catch (error) {
    return failure(name, error)
  } finally {
    await before(STOP_MS, (async () => component.stop?.(AbortSignal.timeout(STOP_MS)))()).catch(
      () => undefined,
    )
  }
}

function failure(component: string, error: unknown): Connection {
  const code = faultOf(error)?.code
  return { component, ok: false, error: messageOf(error), ...(code && { code }) }
}

/** Rejects when `work` has not settled in time. */
function before(limitMs: number, work: Promise<unknown>): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no answer within ${limitMs / 1000} s`)), limitMs)
    work.then(resolve, reject).finally(() => clearTimeout(timer))
  })
}
