import { join } from 'node:path'
import type { Vault } from '../identity/vault.ts'
import type { StateConfig } from '../state/create.ts'
import type { StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import type { Meter } from '../telemetry/meter.ts'
import { AuditLog } from './log.ts'

const KEY_FILE = 'audit.key'

export interface AuditParts {
  readonly state: StateStore
  readonly vault: Vault | undefined
  readonly log: Log
  readonly meter: Meter
  readonly clock: () => number
}

/** The log of this state store. Without a master key an embedded one keeps its key beside the data. */
export function createAudit(config: StateConfig, parts: AuditParts): AuditLog {
  const { key_file: named, when_unavailable: policy } = config.audit
  const beside = config.driver === 'embedded' ? join(config.directory, KEY_FILE) : undefined
  return new AuditLog({ ...parts, keyFile: named ?? beside, lenient: policy === 'count' })
}
