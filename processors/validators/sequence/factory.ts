import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const sequence: ValidatorFactory<typeof config> = {
  type: 'sequence',
  summary:
    'The order of the steps of a run: what must come first, what belongs together, what is missing between.',
  config,
  async load() {
    const { Sequence } = await import('./validator.ts')
    return { create: (settings) => new Sequence(settings) }
  },
}
