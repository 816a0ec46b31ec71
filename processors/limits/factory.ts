import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const limits: ProcessorFactory<typeof config> = {
  type: 'limits',
  aliases: ['memory_limiter'],
  summary:
    'Refuses what is too much, before it is read: sizes, rates, quotas, memory, and what stores lag behind.',
  config,
  async load() {
    const { LimitsProcessor } = await import('./limits.ts')
    return { create: (settings, context) => new LimitsProcessor(settings, context) }
  },
}
