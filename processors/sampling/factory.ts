import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config, isTail } from './config.ts'

export const sampling: ProcessorFactory<typeof config> = {
  type: 'sampling',
  aliases: ['tail_sampling', 'probabilistic_sampler'],
  summary:
    'Keeps a share of all traces, and those that failed, were slow, dear or against the rules; counts stay right.',
  config,
  readsAhead: isTail,
  async load() {
    const { SamplingProcessor } = await import('./sampling.ts')
    return { create: (settings, context) => new SamplingProcessor(settings, context) }
  },
}
