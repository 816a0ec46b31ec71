import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { rawView } from '../../pipeline/batch/raw.ts'
import { SPAN } from '../../proto/otlp/table.ts'
import { GRPC_PREFIX } from './transport.ts'
import { BASE_NS, standardRequest } from '../shape.ts'

export interface Payload {
  /** gRPC prefix and request, with trace ids that no other send has and times of now; the same buffer each time. */
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
  // Over the bytes themselves: writing changes the request.
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  const { spans } = rawView(batch).table
  const places = Array.from({ length: batch.rows }, (_, row) => placeOf(spans, row, view))
  return {
    distinct(send) {
      const nowMs = Date.now()
      for (const { traceId, start, end, startsAfterNs, endsAfterNs } of places) {
        view.setUint32(traceId, send)
        writeNs(view, start, nowMs, startsAfterNs)
        writeNs(view, end, nowMs, endsAfterNs)
      }
      return framed
    },
  }
}

/** Where a span has what is written anew, and its times after the request's first, below 2^32. */
function placeOf(spans: Int32Array, row: number, view: DataView) {
  const [traceId = 0, start = 0, end = 0] = [SPAN.traceId, SPAN.start, SPAN.end].map(
    (field) => spans[row * SPAN.width + field],
  )
  const after = (at: number) => Number(view.getBigUint64(at, true) - BASE_NS)
  return { traceId, start, end, startsAfterNs: after(start), endsAfterNs: after(end) }
}

const WORD = 2 ** 32

/** Unix ms and ns as a little-endian uint64, without a BigInt: 2^32 ns are 4294 ms and 967296 ns. */
function writeNs(view: DataView, at: number, ms: number, ns: number): void {
  let high = Math.floor(ms / 4294.967296)
  let low = ms * 1e6 - high * WORD + ns
  while (low >= WORD) {
    low -= WORD
    high++
  }
  while (low < 0) {
    low += WORD
    high--
  }
  view.setUint32(at, low, true)
  view.setUint32(at + 4, high, true)
}
