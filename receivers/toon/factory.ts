import type { ReceiverFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const toon: ReceiverFactory<typeof config> = {
  type: 'toon',
  summary: 'Receives runs of agents, event by event or in batches, over HTTP (JSON, NDJSON, TOON).',
  config,
  async load() {
    const { ToonReceiver } = await import('./toon.ts')
    return { create: (value, context, next) => new ToonReceiver(value, context, next) }
  },
}
