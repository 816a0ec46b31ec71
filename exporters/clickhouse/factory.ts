import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const clickhouse: ExporterFactory<typeof config> = {
  type: 'clickhouse',
  summary:
    'Stores spans in ClickHouse, embedded or a server, each exactly once, with cost and tokens as typed columns.',
  config,
  async load() {
    const { ClickHouseExporter } = await import('./exporter.ts')
    return { create: (config, context) => new ClickHouseExporter(config, context) }
  },
}
