import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const promptInjection: ValidatorFactory<typeof config> = {
  type: 'prompt_injection',
  summary:
    'Attempts to take over a model: by its user, by what its tools return, and by links that carry data out.',
  config,
  async load() {
    const { PromptInjection } = await import('./validator.ts')
    return { create: (settings) => new PromptInjection(settings) }
  },
}
