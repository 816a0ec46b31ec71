import type { ValidatorFactory } from '../validator.ts'
import { config } from './config.ts'

export const policy: ValidatorFactory<typeof config> = {
  type: 'policy',
  summary: 'Your own rules, written in CEL, over spans and runs.',
  config,
  async load() {
    const { checker } = await import('./validator.ts')
    return { create: ({ rules }) => checker(rules) }
  },
}
