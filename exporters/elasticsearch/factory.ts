import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { ElasticsearchExporter } from './elasticsearch.ts'

export const elasticsearch: ExporterFactory<typeof config> = {
  type: 'elasticsearch',
  aliases: ['opensearch'],
  summary: 'Indexes spans in Elasticsearch or OpenSearch, each exactly once, in an index per day.',
  config,
  create: (options, context) => new ElasticsearchExporter(options, context),
}
