import type { JobFactory } from '../pipeline/factory.ts'
import { consentExpiry } from './consent-expiry/factory.ts'
import { redactionSweep } from './redaction-sweep/factory.ts'
import { replay } from './replay/factory.ts'
import { retention } from './retention/factory.ts'

/** One line per job. */
export const jobs: readonly JobFactory[] = [consentExpiry, redactionSweep, replay, retention]
