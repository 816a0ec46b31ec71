import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { AnswerKeeper } from './answer-keeper.ts'
import { config } from './config.ts'
import { ReplayCache } from './replay-cache.ts'

export const replayCache: ProcessorFactory<typeof config> = {
  type: 'replay_cache',
  summary:
    'Recognises model and tool calls by a keyed hash, and keeps their answers for replays, with consent.',
  config,
  create: (_, context) => new ReplayCache(context),
  afterwards: (options, context) => new AnswerKeeper(options, context),
}
