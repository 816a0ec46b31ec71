import { actionMisuse } from './action-misuse/factory.ts'
import { eventFrequency } from './event-frequency/factory.ts'
import { missingStep } from './missing-step/factory.ts'
import { pii } from './pii/factory.ts'
import { policy } from './policy/factory.ts'
import { promptInjection } from './prompt-injection/factory.ts'
import { sequence } from './sequence/factory.ts'
import { timelag } from './timelag/factory.ts'
import type { LoadedValidator, ValidatorFactory } from './validator.ts'

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

export function loadValidators(): Promise<LoadedValidator[]> {
  return Promise.all(validators.map(async (factory) => ({ type: factory.type, ...(await factory.load()) })))
}
