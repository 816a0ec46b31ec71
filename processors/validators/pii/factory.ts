import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const pii: ValidatorFactory<typeof config> = {
  type: 'pii',
  summary: 'Personal data and secrets, by what the sanitizer found on the span.',
  config,
  async load() {
    const { Pii } = await import('./validator.ts')
    return { create: (settings) => new Pii(settings) }
  },
}
