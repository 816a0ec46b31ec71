import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const auth: ProcessorFactory<typeof config> = {
  type: 'auth',
  summary: 'Finds out who sends (API key, signed request, JWT, client certificate) before anything is read.',
  config,
  async load() {
    const { AuthProcessor } = await import('./auth.ts')
    return { create: (settings, context) => new AuthProcessor(settings, context) }
  },
}
