import { actionMisuse } from './action-misuse/validator.ts'
import { eventFrequency } from './event-frequency/validator.ts'
import { missingStep } from './missing-step/validator.ts'
import { pii } from './pii/validator.ts'
import { policy } from './policy/validator.ts'
import { promptInjection } from './prompt-injection/validator.ts'
import { sequence } from './sequence/validator.ts'
import { timelag } from './timelag/validator.ts'
import type { ValidatorFactory } from './validator.ts'

/** The validators that are built in: one line each. */
export const validators: readonly ValidatorFactory[] = [
  policy,
  pii,
  promptInjection,
  actionMisuse,
  timelag,
  missingStep,
  sequence,
  eventFrequency,
]
