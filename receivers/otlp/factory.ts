import type { ReceiverFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const otlp: ReceiverFactory<typeof config> = {
  type: 'otlp',
  summary: 'Receives OTLP traces over gRPC and HTTP (protobuf and JSON).',
  config,
  async load() {
    const { OtlpReceiver } = await import('./otlp.ts')
    return { create: (value, context, next) => new OtlpReceiver(value, context, next) }
  },
}
