import type { ComponentConfig, Config } from '../pipeline/config.ts'

/** Where a pipeline names the components of a section. */
const PLACES = {
  receivers: ['receivers'],
  processors: ['processors'],
  connectors: ['receivers', 'exporters'],
  exporters: ['exporters'],
} as const

/** Those that some pipeline names: only they are started. A receiver and an exporter may have one id. */
export function named(config: Config, section: keyof typeof PLACES): ComponentConfig[] {
  const pipelines = [...config.service.pipelines.values()]
  const ids = new Set(pipelines.flatMap((pipeline) => PLACES[section].flatMap((place) => pipeline[place])))
  return [...config[section].values()].filter(({ id }) => ids.has(id))
}
