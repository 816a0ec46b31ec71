import type { ExtensionFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { HealthExtension } from './health.ts'

export const health: ExtensionFactory<typeof config> = {
  type: 'health',
  aliases: ['health_check', 'healthcheckv2'],
  summary: 'Liveness, readiness and component status over HTTP.',
  config,
  create: (options, context, host) => new HealthExtension(options, context, host),
}
