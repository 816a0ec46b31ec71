import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const elasticsearch: ExporterFactory<typeof config> = {
  type: 'elasticsearch',
  aliases: ['opensearch'],
  summary: 'Indexes spans in Elasticsearch or OpenSearch, each exactly once, in an index per day.',
  config,
  async load() {
    const { ElasticsearchExporter } = await import('./elasticsearch.ts')
    return { create: (options, context) => new ElasticsearchExporter(options, context) }
  },
}
