import { pii } from './pii/validator.ts'
import { policy } from './policy/validator.ts'
import type { ValidatorFactory } from './validator.ts'

/** The validators that are built in: one line each. */
export const validators: readonly ValidatorFactory[] = [policy, pii]
