import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const replayCache: ProcessorFactory<typeof config> = {
  type: 'replay_cache',
  summary:
    'Recognises model and tool calls by a keyed hash, and keeps their answers for replays, with consent.',
  config,
  async load() {
    const { ReplayCache } = await import('./replay-cache.ts')
    return { create: (_, context) => new ReplayCache(context) }
  },
  async loadAfterwards() {
    const { AnswerKeeper } = await import('./answer-keeper.ts')
    return { create: (options, context) => new AnswerKeeper(options, context) }
  },
}
