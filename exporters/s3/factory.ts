import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { S3Exporter } from './s3.ts'

export const s3: ExporterFactory<typeof config> = {
  type: 's3',
  aliases: ['awss3'],
  summary:
    'Archives spans in S3 or what speaks like it, each exactly once, as OTLP or Parquet, by tenant and time.',
  config,
  create: (options, context) => new S3Exporter(options, context),
}
