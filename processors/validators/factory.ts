import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const validators: ProcessorFactory<typeof config> = {
  type: 'validators',
  summary: 'Judges spans before they are stored, and runs when they have ended, by rules.',
  config,
  async load() {
    const { Validators } = await import('./validators.ts')
    return { create: (options, context) => new Validators(options, context) }
  },
  async loadAfterwards() {
    const { afterwards } = await import('./runs/afterwards.ts')
    return {
      create: (options, context, log, receivers) => afterwards(options, context, log, receivers),
    }
  },
}
