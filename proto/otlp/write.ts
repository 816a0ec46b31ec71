import { Sink, WIRE } from '../wire.ts'
import { writeLiteral, type Literal } from './values.ts'

/** An ExportTraceServiceRequest from plain values, for receivers whose senders speak something else than OTLP. */

export type Attributes = readonly (readonly [key: string, value: Literal])[]

export interface SpanFields {
  /** 16 bytes. */
  readonly traceId: Uint8Array
  /** 8 bytes. */
  readonly spanId: Uint8Array
  /** 8 bytes; undefined for a root. */
  readonly parentSpanId?: Uint8Array | undefined
  readonly name: string
  /** OTLP SpanKind; 1 is internal. */
  readonly kind: number
  /** Unix ns. */
  readonly startNs: bigint
  readonly endNs: bigint
  readonly attributes: Attributes
  readonly links?: readonly SpanLink[]
  /** OTLP StatusCode: 0 unset, 1 ok, 2 error. */
  readonly statusCode: number
  readonly statusMessage?: string | undefined
}

export interface SpanLink {
  readonly traceId: Uint8Array
  readonly spanId: Uint8Array
  readonly traceState?: string | undefined
}

/** Spans of one resource and scope. */
export interface SpanGroup {
  readonly resource: Attributes
  readonly scope: { readonly name: string; readonly version: string }
  readonly spans: Iterable<SpanFields>
}

/** ExportTraceServiceRequest: 1 resource_spans. ResourceSpans: 1 resource, 2 scope_spans. ScopeSpans: 1 scope, 2 spans. */
export function writeRequest(groups: Iterable<SpanGroup>, sizeHint = 1024): Buffer {
  const sink = new Sink(sizeHint)
  for (const { resource, scope, spans } of groups) {
    const resourceSpans = sink.open(1)
    const inner = sink.open(1)
    writeAttributes(sink, 1, resource)
    sink.close(inner)
    const scopeSpans = sink.open(2)
    const scopeMark = sink.open(1)
    text(sink, 1, scope.name)
    text(sink, 2, scope.version)
    sink.close(scopeMark)
    for (const span of spans) writeSpan(sink, span)
    sink.close(scopeSpans)
    sink.close(resourceSpans)
  }
  return sink.take()
}

/**
 * Span: 1 trace_id, 2 span_id, 4 parent_span_id, 5 name, 6 kind, 7 start and 8 end (fixed64), 9 attributes, 13 links,
 * 15 status.
 */
function writeSpan(sink: Sink, span: SpanFields): void {
  const mark = sink.open(2)
  bytes(sink, 1, span.traceId)
  bytes(sink, 2, span.spanId)
  if (span.parentSpanId !== undefined) bytes(sink, 4, span.parentSpanId)
  text(sink, 5, span.name)
  sink.tag(6, WIRE.varint)
  sink.varint(span.kind)
  sink.tag(7, WIRE.i64)
  sink.fixed64(span.startNs)
  sink.tag(8, WIRE.i64)
  sink.fixed64(span.endNs)
  writeAttributes(sink, 9, span.attributes)
  for (const link of span.links ?? []) writeLink(sink, link)
  if (span.statusCode !== 0) writeStatus(sink, span)
  sink.close(mark)
}

/** Span.Link: 1 trace_id, 2 span_id, 3 trace_state. */
function writeLink(sink: Sink, { traceId, spanId, traceState }: SpanLink): void {
  const mark = sink.open(13)
  bytes(sink, 1, traceId)
  bytes(sink, 2, spanId)
  if (traceState) text(sink, 3, traceState)
  sink.close(mark)
}

/** Status: 2 message, 3 code. */
function writeStatus(sink: Sink, { statusCode, statusMessage }: SpanFields): void {
  const mark = sink.open(15)
  if (statusMessage) text(sink, 2, statusMessage)
  sink.tag(3, WIRE.varint)
  sink.varint(statusCode)
  sink.close(mark)
}

/** KeyValue: 1 key, 2 value. */
function writeAttributes(sink: Sink, field: number, attributes: Attributes): void {
  for (const [key, value] of attributes) {
    const mark = sink.open(field)
    text(sink, 1, key)
    const inner = sink.open(2)
    writeLiteral(sink, value)
    sink.close(inner)
    sink.close(mark)
  }
}

function text(sink: Sink, field: number, value: string): void {
  sink.tag(field, WIRE.len)
  sink.string(value)
}

function bytes(sink: Sink, field: number, value: Uint8Array): void {
  sink.tag(field, WIRE.len)
  sink.bytes(value)
}
