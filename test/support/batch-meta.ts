import type { BatchMeta } from '../../pipeline/batch/batch.ts'

/** What a batch of spans brings along where a test does not care. */
export function testMeta(fields: Partial<BatchMeta> = {}): BatchMeta {
  return {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'test',
    receivedAtMs: 0,
    digest: new Uint8Array(16),
    ...fields,
  }
}
