import { createHash } from 'node:crypto'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'

/** An OTLP request of one scope with a span per name; the name is what the model exporter and processor go by. */
export function spansRequest(names: readonly string[], padding = 0): Uint8Array {
  const spans = names.map((name) => {
    const id = createHash('sha256').update(name).digest()
    return field(
      2,
      Buffer.concat([
        field(1, id.subarray(0, 16)),
        field(2, id.subarray(16, 24)),
        field(3, Buffer.alloc(padding, 0x61)),
        field(5, Buffer.from(name)),
      ]),
    )
  })
  return field(1, field(2, Buffer.concat(spans)))
}

/** Length-delimited protobuf field. */
function field(number: number, bytes: Buffer): Buffer {
  const head: number[] = [(number << 3) | 2]
  let length = bytes.length
  for (; length > 127; length >>>= 7) head.push((length & 127) | 128)
  head.push(length)
  return Buffer.concat([Buffer.from(head), bytes])
}

export interface RequestFacts {
  readonly tenant?: string
  readonly source?: string
  readonly receivedAtMs?: number
  readonly padding?: number
}

/** A request as a receiver hands it over: equal names, equal digest, as in a sender's retry. */
export function requestBatch(names: readonly string[], facts: RequestFacts = {}): Batch {
  const bytes = spansRequest(names, facts.padding)
  return decodeBatch(bytes, {
    signal: 'traces',
    tenant: facts.tenant ?? 'default',
    project: '',
    principal: 'tester',
    source: facts.source ?? 'otlp/grpc',
    receivedAtMs: facts.receivedAtMs ?? 1_700_000_000_000,
    digest: createHash('sha256').update(bytes).digest().subarray(0, 16),
  })
}
