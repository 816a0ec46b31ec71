import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const actionMisuse: ValidatorFactory<typeof config> = {
  type: 'action_misuse',
  summary:
    'Who may take which action, what its parameters must be like, and commands or SQL injected into them.',
  config,
  async load() {
    const { ActionMisuse } = await import('./validator.ts')
    return { create: (settings) => new ActionMisuse(settings) }
  },
}
