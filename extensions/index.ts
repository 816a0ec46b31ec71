import type { ExtensionFactory } from '../pipeline/factory.ts'
import { api } from './api/factory.ts'
import { health } from './health/factory.ts'
import { state } from './state/factory.ts'

/** Every extension that is built in; one line each. */
export const extensions: readonly ExtensionFactory[] = [api, health, state]
