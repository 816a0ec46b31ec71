import type { Batch } from '../pipeline/batch/batch.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'

/** A batch as a processor meets it, received on a day for which there are prices. */
export function decoded(bytes: Uint8Array): Batch {
  return decodeBatch(bytes, {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'bench',
    receivedAtMs: Date.parse('2026-08-01'),
    digest: new Uint8Array(16),
  })
}
