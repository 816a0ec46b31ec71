import type { ReceiverFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const jsonl: ReceiverFactory<typeof config> = {
  type: 'jsonl',
  aliases: ['filelog', 'file_log'],
  summary: 'Tails files of JSON lines: toon events, OTLP/JSON, audit events, or any JSON by a mapping.',
  config,
  async load() {
    const { JsonlReceiver } = await import('./jsonl.ts')
    return { create: (value, context, next) => new JsonlReceiver(value, context, next) }
  },
}
