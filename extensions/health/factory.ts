import type { ExtensionFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'

export const health: ExtensionFactory<typeof config> = {
  type: 'health',
  aliases: ['health_check', 'healthcheckv2'],
  summary: 'Liveness, readiness and component status over HTTP.',
  config,
  async load() {
    const { HealthExtension } = await import('./health.ts')
    return { create: (options, context, host) => new HealthExtension(options, context, host) }
  },
}
