import type { Audit } from '../audit/audit.ts'
import type { ComponentConfig, Config, PipelineConfig } from '../config.ts'
import type { Context, Kind, Registry } from '../factory.ts'
import { reject } from '../fault.ts'
import type { ByteGate } from '../intake.ts'
import type { Listeners } from '../net/listeners.ts'
import type { Pressure } from '../pressure.ts'
import type { Usage } from '../usage/usage.ts'
import type { StateStore } from '../state/state.ts'
import type { IdentityView } from '../identity/view.ts'
import type { Vault } from '../identity/vault.ts'
import type { Pseudonyms } from '../privacy/pseudonyms.ts'
import type { Log } from '../telemetry/log.ts'
import type { Tracing } from '../telemetry/traced.ts'
import type { Meter } from '../telemetry/meter.ts'

/** What a process has one of; components get it through their Context. */
export interface Services {
  readonly registry: Registry
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
  readonly state: StateStore
  readonly identity: IdentityView
  readonly vault?: Vault | undefined
  readonly audit?: Audit | undefined
  readonly pseudonyms: Pseudonyms
  readonly listeners: Listeners
  readonly intake: ByteGate
  readonly pressure: Pressure
  readonly usage: Usage
  /** weir's own traces, when configured. */
  readonly tracing: Tracing | undefined
  /** Tells the store process that a connector has something to read. */
  readonly onAppended: (connector: string) => void
  /** Name in leases, in the store process. */
  readonly holder?: string
}

export function contextFor(services: Services, kind: Kind, id: string): Context {
  return {
    id,
    kind,
    log: services.log.child({ 'otelcol.component.id': id, 'otelcol.component.kind': kind }),
    meter: services.meter,
    clock: services.clock,
    state: services.state,
    identity: services.identity,
    vault: services.vault,
    audit: services.audit,
    pseudonyms: services.pseudonyms,
    listeners: services.listeners,
    intake: services.intake,
    pressure: services.pressure,
    usage: services.usage,
  }
}

/** The section's entry for an id that a pipeline names; config loading has checked that it exists. */
export function componentOf(
  section: ReadonlyMap<string, ComponentConfig>,
  id: string,
  where: string,
): ComponentConfig {
  const component = section.get(id)
  if (component === undefined) throw reject('CONFIG_INVALID', `${where} names "${id}", which is not defined`)
  return component
}

export function factoryOf<F extends { readonly type: string }>(
  factories: readonly F[],
  component: ComponentConfig,
): F {
  const factory = factories.find((candidate) => candidate.type === component.type)
  if (factory === undefined) throw reject('CONFIG_INVALID', `"${component.type}" is not built in`)
  return factory
}

/** Whether a store process is needed: jobs run there, too. */
export function hasStore(config: Config): boolean {
  if (config.service.jobs.length > 0) return true
  return [...config.service.pipelines.values()].some((pipeline) => isStorePipeline(config, pipeline))
}

/** A pipeline that reads from a connector runs in the store process; the others run in the main process. */
export function isStorePipeline(config: Config, pipeline: PipelineConfig): boolean {
  return pipeline.receivers.some((id) => config.connectors.has(id))
}
