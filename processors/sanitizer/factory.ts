import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const sanitizer: ProcessorFactory<typeof config> = {
  type: 'sanitizer',
  summary: 'Replaces personal data and secrets in every text of a span before anything is stored.',
  config,
  redacts: true,
  async load() {
    const { Sanitizer } = await import('./sanitizer.ts')
    return { create: (settings, context) => new Sanitizer(settings, context) }
  },
}
