import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const missingStep: ValidatorFactory<typeof config> = {
  type: 'missing_step',
  summary: 'Steps that a run must have and has not.',
  config,
  async load() {
    const { MissingStep } = await import('./validator.ts')
    return { create: (settings) => new MissingStep(settings) }
  },
}
