import type { JobFactory } from '../../pipeline/factory.ts'
import { config, params } from './config.ts'
import { ConsentExpiry } from './expiry.ts'

export const consentExpiry: JobFactory<typeof config> = {
  type: 'consent_expiry',
  summary: 'Takes away what only a consent allowed that has expired or was revoked.',
  config,
  params,
  create: (settings, context) => new ConsentExpiry(settings, context),
}
