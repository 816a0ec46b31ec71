import { reject } from '../fault.ts'
import type { StateKey } from './state.ts'

/** Both drivers: under JetStream's default max_payload of 1 MiB, and LMDB's key size at 4 KiB pages. */
const MAX_VALUE_BYTES = 512 * 1024
const MAX_KEY_LENGTH = 1024

/** Throws on a record that no driver could keep. A caller that makes such a one has a bug; it must not retry for ever. */
export function checkRecord(key: StateKey, value: Uint8Array | undefined): void {
  if (key === '' || key.length > MAX_KEY_LENGTH) {
    throw reject(
      'STATE_UNAVAILABLE',
      `a state key has 1 to ${MAX_KEY_LENGTH} characters, this one ${key.length}`,
    )
  }
  if (value !== undefined && value.length > MAX_VALUE_BYTES) {
    throw reject(
      'STATE_UNAVAILABLE',
      `the state record ${key} has ${value.length} bytes, over the limit of ${MAX_VALUE_BYTES}`,
    )
  }
}
