import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { loadValidators } from './index.ts'

export const validators: ProcessorFactory<typeof config> = {
  type: 'validators',
  summary: 'Judges spans before they are stored, and runs when they have ended, by rules.',
  config,
  async load() {
    const { Validators } = await import('./validators.ts')
    const loaded = await loadValidators()
    return { create: (options, context) => new Validators(options, context, loaded) }
  },
  async loadAfterwards() {
    const { afterwards } = await import('./runs/afterwards.ts')
    const loaded = await loadValidators()
    return {
      create: (options, context, log, receivers) => afterwards(options, context, log, receivers, loaded),
    }
  },
}
