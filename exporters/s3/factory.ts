import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const s3: ExporterFactory<typeof config> = {
  type: 's3',
  aliases: ['awss3'],
  summary:
    'Archives spans in S3 or what speaks like it, each exactly once, as OTLP or Parquet, by tenant and time.',
  config,
  async load() {
    const { S3Exporter } = await import('./s3.ts')
    return { create: (options, context) => new S3Exporter(options, context) }
  },
}
