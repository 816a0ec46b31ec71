import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { LimitsProcessor } from './limits.ts'

export const limits: ProcessorFactory<typeof config> = {
  type: 'limits',
  aliases: ['memory_limiter'],
  summary:
    'Refuses what is too much, before it is read: sizes, rates, quotas, memory, and what stores lag behind.',
  config,
  create: (settings, context) => new LimitsProcessor(settings, context),
}
