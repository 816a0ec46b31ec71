import type { JobFactory } from '../../pipeline/factory.ts'
import { config, params } from './config.ts'

export const redactionSweep: JobFactory<typeof config> = {
  type: 'redaction_sweep',
  summary: 'Redacts what is stored once more when the rules have changed, or one run when asked.',
  config,
  params,
  onDemand: true,
  async load() {
    const { RedactionSweep } = await import('./sweep.ts')
    return { create: (settings, context) => new RedactionSweep(settings, context) }
  },
}
