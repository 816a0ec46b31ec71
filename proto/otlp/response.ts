import { Cursor, Sink, WIRE } from '../wire.ts'

/** ExportTracePartialSuccess; `rejectedSpans` 0 with a message is a warning (specification, "Partial Success"). */
export interface PartialSuccess {
  readonly rejectedSpans: number
  readonly errorMessage: string
}

/**
 * ExportTraceServiceResponse: ExportTracePartialSuccess partial_success = 1
 * ExportTracePartialSuccess: int64 rejected_spans = 1 · string error_message = 2
 * Full success leaves partial_success unset.
 */
export function encodeExportTraceResponse(partial?: PartialSuccess): Buffer {
  const sink = new Sink(128)
  if (partial === undefined) return sink.take()
  const mark = sink.open(1)
  if (partial.rejectedSpans !== 0) {
    sink.tag(1, WIRE.varint)
    sink.varint64(BigInt(partial.rejectedSpans))
  }
  if (partial.errorMessage !== '') {
    sink.tag(2, WIRE.len)
    sink.string(partial.errorMessage)
  }
  sink.close(mark)
  return sink.take()
}

/** int64 as a string, as OTLP/JSON writes it. */
export function exportTraceResponseToJson(partial?: PartialSuccess): string {
  if (partial === undefined) return '{}'
  const { rejectedSpans, errorMessage } = partial
  return JSON.stringify({
    partialSuccess: {
      ...(rejectedSpans === 0 ? {} : { rejectedSpans: String(rejectedSpans) }),
      ...(errorMessage === '' ? {} : { errorMessage }),
    },
  })
}

/** Undefined for full success; an empty partial_success is the same as none. Throws WireError. */
export function decodeExportTraceResponse(bytes: Uint8Array): PartialSuccess | undefined {
  let rejectedSpans = 0
  let errorMessage = ''
  const cursor = new Cursor(bytes)
  while (cursor.next()) {
    if (cursor.field !== 1) {
      cursor.skip()
      continue
    }
    cursor.expect(WIRE.len)
    const inner = cursor.message()
    while (inner.next()) {
      if (inner.field === 1 && inner.wire === WIRE.varint) rejectedSpans = Number(inner.int64())
      else if (inner.field === 2 && inner.wire === WIRE.len) errorMessage = inner.string()
      else inner.skip()
    }
  }
  return partialOf(rejectedSpans, errorMessage)
}

/** As above; undefined too for text that is not such JSON. */
export function exportTraceResponseFromJson(json: string): PartialSuccess | undefined {
  let value: unknown
  try {
    value = JSON.parse(json)
  } catch {
    return undefined
  }
  const partial = Object(Object(value)['partialSuccess']) as Record<string, unknown>
  const rejected = Number(partial['rejectedSpans'] ?? 0)
  const message = partial['errorMessage']
  return partialOf(Number.isSafeInteger(rejected) ? rejected : 0, typeof message === 'string' ? message : '')
}

function partialOf(rejectedSpans: number, errorMessage: string): PartialSuccess | undefined {
  return rejectedSpans === 0 && errorMessage === '' ? undefined : { rejectedSpans, errorMessage }
}
