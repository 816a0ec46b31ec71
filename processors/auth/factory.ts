import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { AuthProcessor } from './auth.ts'
import { config } from './config.ts'

export const auth: ProcessorFactory<typeof config> = {
  type: 'auth',
  summary: 'Finds out who sends (API key, signed request, JWT, client certificate) before anything is read.',
  config,
  create: (settings, context) => new AuthProcessor(settings, context),
}
