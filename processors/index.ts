import type { ProcessorFactory } from '../pipeline/factory.ts'
import { artifacts } from './artifacts/factory.ts'
import { auth } from './auth/factory.ts'
import { cost } from './cost/factory.ts'
import { limits } from './limits/factory.ts'
import { replayCache } from './replay-cache/factory.ts'
import { sampling } from './sampling/factory.ts'
import { sanitizer } from './sanitizer/factory.ts'
import { validators } from './validators/factory.ts'

/** The processors that are built in: one line each. */
export const processors: readonly ProcessorFactory[] = [
  artifacts,
  auth,
  cost,
  limits,
  replayCache,
  sampling,
  sanitizer,
  validators,
]
