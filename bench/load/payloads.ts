import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { GRPC_PREFIX } from './transport.ts'
import { standardRequest } from '../shape.ts'

export interface Payload {
  /** gRPC prefix and request, with trace ids that no other send has; the same buffer each time. */
  distinct(send: number): Uint8Array
}

/** `count` different requests of the standard shape, encoded once. */
export function loadPayloads(spansPerRequest: number, count: number): Payload[] {
  return Array.from({ length: count }, (_, seed) => payload(standardRequest(seed + 1, spansPerRequest)))
}

function payload(request: Uint8Array): Payload {
  const framed = Buffer.alloc(GRPC_PREFIX + request.length)
  framed.writeUInt32BE(request.length, 1)
  const bytes = framed.subarray(GRPC_PREFIX)
  bytes.set(request)
  const batch = decodeBatch(bytes, {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'bench',
    receivedAtMs: 0,
    digest: new Uint8Array(16),
  })
  // Views into `bytes`: writing to one changes the request.
  const ids = Array.from({ length: batch.rows }, (_, row) => batch.traceId(row))
  const views = ids.map((id) => new DataView(id.buffer, id.byteOffset, id.byteLength))
  return {
    distinct(send) {
      for (const view of views) view.setUint32(0, send)
      return framed
    },
  }
}
