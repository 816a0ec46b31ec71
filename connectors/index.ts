import type { ConnectorFactory } from '../pipeline/factory.ts'
import { wal } from './wal/factory.ts'

/** Every connector that is built in; one line each. */
export const connectors: readonly ConnectorFactory[] = [wal]
