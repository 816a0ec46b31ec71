import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const cloudwatch: ExporterFactory<typeof config> = {
  type: 'cloudwatch',
  aliases: ['awscloudwatchlogs'],
  summary:
    'Writes spans to Amazon CloudWatch Logs, as JSON for Logs Insights and metrics of cost, tokens and latency.',
  config,
  async load() {
    const { CloudWatchExporter } = await import('./cloudwatch.ts')
    return { create: (options, context) => new CloudWatchExporter(options, context) }
  },
}
