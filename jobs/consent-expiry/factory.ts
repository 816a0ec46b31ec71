import type { JobFactory } from '../../pipeline/factory.ts'
import { config, params } from './config.ts'

export const consentExpiry: JobFactory<typeof config> = {
  type: 'consent_expiry',
  summary: 'Takes away what only a consent allowed that has expired or was revoked.',
  config,
  params,
  async load() {
    const { ConsentExpiry } = await import('./expiry.ts')
    return { create: (settings, context) => new ConsentExpiry(settings, context) }
  },
}
