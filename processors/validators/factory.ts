import type { ProcessorFactory } from '../../pipeline/factory.ts'
import { config } from './config.ts'
import { afterwards } from './runs/afterwards.ts'
import { Validators } from './validators.ts'

export const validators: ProcessorFactory<typeof config> = {
  type: 'validators',
  summary: 'Judges spans before they are stored, and runs when they have ended, by rules.',
  config,
  create: (options, context) => new Validators(options, context),
  afterwards: (options, context, log, receivers) => afterwards(options, context, log, receivers),
}
