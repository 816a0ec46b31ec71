import type { ReceiverFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { ToonReceiver } from './toon.ts'

export const toon: ReceiverFactory<typeof config> = {
  type: 'toon',
  summary: 'Receives runs of agents, event by event or in batches, over HTTP (JSON, NDJSON, TOON).',
  config,
  create: (value, context, next) => new ToonReceiver(value, context, next),
}
