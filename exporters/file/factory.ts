import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const file: ExporterFactory<typeof config> = {
  type: 'file',
  summary: 'Writes spans to a file that rotates, each exactly once, as OTLP/JSON lines or OTLP protobuf.',
  config,
  async load() {
    const { FileExporter } = await import('./file.ts')
    return { create: (options, context) => new FileExporter(options, context) }
  },
}
