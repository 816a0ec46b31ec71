import type { Config } from '../config.ts'
import type { JobFactory, Registry } from '../factory.ts'
import type { Timing } from './timing.ts'

/** A job that this daemon knows how to run. */
export interface JobEntry {
  readonly id: string
  readonly factory: JobFactory
  readonly config: Timing
  /** Equal text means the same job: a reload leaves it alone. */
  readonly key: string
  /** Listed in `service.jobs`; else it runs only when asked. */
  readonly listed: boolean
}

/** Those of `service.jobs`, then the types that need no entry in the config. */
export function catalogueOf(config: Config, registry: Registry): readonly JobEntry[] {
  const listed = config.service.jobs.flatMap((id) => {
    const component = config.jobs.get(id)
    const factory = registry.jobs.find(({ type }) => type === component?.type)
    if (component === undefined || factory === undefined) return []
    return [
      { id, factory, config: component.value as Timing, key: [id, component.key].join('\n'), listed: true },
    ]
  })
  const taken = new Set(listed.map(({ id }) => id))
  const onDemand = registry.jobs.flatMap((factory) => {
    if (factory.onDemand !== true || taken.has(factory.type)) return []
    const value = factory.config.parse({}) as Timing
    return [
      { id: factory.type, factory, config: { ...value, enabled: false }, key: factory.type, listed: false },
    ]
  })
  return [...listed, ...onDemand]
}
