import type { ExporterFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const otlp: ExporterFactory<typeof config> = {
  type: 'otlp',
  aliases: ['otlp_grpc', 'otlp_http', 'otlphttp'],
  summary: 'Sends spans on by OTLP, over gRPC or HTTP, to one server or several.',
  config,
  async load() {
    const { OtlpExporter } = await import('./otlp.ts')
    return { create: (options, context) => new OtlpExporter(options, context) }
  },
}
