import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const eventFrequency: ValidatorFactory<typeof config> = {
  type: 'event_frequency',
  summary: 'How often steps occur: limits, loops, and runs that are unlike the others of their agent.',
  config,
  async load() {
    const { EventFrequency } = await import('./validator.ts')
    return { create: (settings) => new EventFrequency(settings) }
  },
}
