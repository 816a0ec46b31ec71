import { randomUUID } from 'node:crypto'
import { createAudit } from '../audit/create.ts'
import type { ComponentConfig, Config } from '../config.ts'
import type { Registry } from '../factory.ts'
import { ByteGate } from '../intake.ts'
import { POOL } from '../../proto/buffer-pool.ts'
import { memoryBudget, type MemoryBudget } from '../memory-budget.ts'
import { ListenerPool } from '../net/listener-pool.ts'
import { IdentityCache } from '../identity/cache.ts'
import { within } from '../net/within.ts'
import { Pressure } from '../pressure.ts'
import { createStateStore, createVault, DEFAULT_STATE, type StateConfig } from '../state/create.ts'
import { Pseudonyms } from '../privacy/pseudonyms.ts'
import { createLogger } from '../telemetry/logger.ts'
import { createMeter, type PromMeter } from '../telemetry/prom-meter.ts'
import type { Tracing } from '../telemetry/traced.ts'
import { sampleProcess } from '../telemetry/process.ts'
import { UsageBook } from '../usage/book.ts'
import type { Services } from './services.ts'

/** For the last second's usage, and the last entries of the audit log, to be written. */
const USAGE_STOP_MS = 2000

export interface ProcessServices extends Services {
  readonly meter: PromMeter
  readonly listeners: ListenerPool
  /** Ends what was begun with the state store, and closes it. */
  closeState(): Promise<void>
}

/** What a process has one of, with the state store open. */
export async function processServices(
  config: Config,
  registry: Registry,
  role: 'intake' | 'store',
  onAppended: (connector: string) => void = () => undefined,
): Promise<ProcessServices> {
  const { logs, resource } = config.service.telemetry
  const log = createLogger({ level: logs.level, encoding: logs.encoding, resource })
  const meter = createMeter()
  sampleProcess(meter, role)
  const budget = memoryBudget()
  POOL.keepAtMost(budget.idlePoolBytes)
  const intake = new ByteGate(budget.intakeBytes, budget.requestBytes)
  if (role === 'intake') {
    log.info(describe(budget), 'Memory')
    const held = meter.gauge('weir_intake_bytes')
    meter.onCollect(() => held.set(intake.held))
  }
  const stored = stateConfig(config)
  const state = await createStateStore(stored, log)
  await state.open()
  const identity = new IdentityCache(state, log)
  await identity.start()
  const vault = createVault(stored)
  const audit = createAudit(stored, { state, vault, log, meter, clock: Date.now })
  const usage = new UsageBook({ state, log, clock: Date.now })
  return {
    registry,
    log,
    meter,
    clock: Date.now,
    state,
    identity,
    vault,
    audit,
    pseudonyms: new Pseudonyms(),
    listeners: new ListenerPool({ log }),
    intake,
    pressure: new Pressure(),
    usage,
    tracing: await ownTracing(config),
    onAppended,
    async closeState() {
      await identity.stop()
      await within(AbortSignal.timeout(USAGE_STOP_MS), undefined, Promise.all([usage.stop(), audit.stop()]))
      await state.close()
    },
  }
}

/** What was assumed, for an operator who gave it less or more. */
function describe({ limitBytes, intakeBytes, requestBytes }: MemoryBudget) {
  return { limit_bytes: limitBytes, in_flight_bytes: intakeBytes, request_bytes: requestBytes }
}

/** weir's own spans; the instance id is random, so that a process knows its own (and does not trace them again). */
async function ownTracing(config: Config): Promise<Tracing | undefined> {
  const { traces, resource } = config.service.telemetry
  if (traces === undefined) return undefined
  // OpenTelemetry's SDK is loaded only where it is used.
  const { createTracing, INSTANCE_ID } = await import('../telemetry/tracing.ts')
  return createTracing({
    ...traces,
    resource: { 'service.name': 'weir', ...resource, [INSTANCE_ID]: randomUUID() },
  })
}

/** The `state` extension in use, or embedded under ./data/state. */
export function stateConfig(config: Config): StateConfig {
  const component = stateComponent(config)
  return component === undefined ? DEFAULT_STATE : (component.value as StateConfig)
}

/** The first `state` extension that the service names. */
export function stateComponent(config: Config): ComponentConfig | undefined {
  return config.service.extensions
    .map((id) => config.extensions.get(id))
    .find((extension) => extension?.type === 'state')
}
