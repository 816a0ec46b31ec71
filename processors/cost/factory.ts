import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const cost: ProcessorFactory<typeof config> = {
  type: 'cost',
  summary: 'Maps every convention’s model calls to disjoint token counts and prices them, exactly, by date.',
  config,
  async load() {
    const { CostProcessor } = await import('./cost.ts')
    return { create: (settings, context) => new CostProcessor(settings, context) }
  },
}
