import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { FileExporter } from './file.ts'

export const file: ExporterFactory<typeof config> = {
  type: 'file',
  summary: 'Writes spans to a file that rotates, each exactly once, as OTLP/JSON lines or OTLP protobuf.',
  config,
  create: (options, context) => new FileExporter(options, context),
}
