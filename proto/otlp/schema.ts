/**
 * The messages of OTLP traces, as data: one table for both directions of OTLP/JSON (and, later, for more signals).
 * Names are the lowerCamelCase names of proto3 JSON; the fields are those of `proto/vendor/opentelemetry`.
 */
export interface Message {
  readonly name: string
  readonly fields: readonly Field[]
}

export interface Field {
  readonly number: number
  readonly name: string
  readonly kind: Kind
  readonly repeated?: true
  /** Member of a oneof: written even when it is zero, and at most one per message. */
  readonly oneof?: true
  /** For kind `message`; a function, since AnyValue contains itself. */
  readonly message?: () => Message
}

/** `hex`: bytes that OTLP/JSON writes as hex instead of base64 (trace and span ids). */
export type Kind =
  | 'string'
  | 'bytes'
  | 'hex'
  | 'bool'
  | 'int64'
  | 'uint32'
  | 'int32'
  | 'enum'
  | 'double'
  | 'fixed32'
  | 'fixed64'
  | 'message'

function field(number: number, name: string, kind: Exclude<Kind, 'message'>): Field {
  return { number, name, kind }
}

function member(number: number, name: string, kind: Exclude<Kind, 'message'>): Field {
  return { number, name, kind, oneof: true }
}

function one(number: number, name: string, message: () => Message): Field {
  return { number, name, kind: 'message', message }
}

function many(number: number, name: string, message: () => Message): Field {
  return { number, name, kind: 'message', message, repeated: true }
}

export const ANY_VALUE: Message = {
  name: 'AnyValue',
  fields: [
    member(1, 'stringValue', 'string'),
    member(2, 'boolValue', 'bool'),
    member(3, 'intValue', 'int64'),
    member(4, 'doubleValue', 'double'),
    { number: 5, name: 'arrayValue', kind: 'message', oneof: true, message: () => ARRAY_VALUE },
    { number: 6, name: 'kvlistValue', kind: 'message', oneof: true, message: () => KEY_VALUE_LIST },
    member(7, 'bytesValue', 'bytes'),
  ],
}

export const ARRAY_VALUE: Message = { name: 'ArrayValue', fields: [many(1, 'values', () => ANY_VALUE)] }

export const KEY_VALUE: Message = {
  name: 'KeyValue',
  fields: [field(1, 'key', 'string'), one(2, 'value', () => ANY_VALUE)],
}

export const KEY_VALUE_LIST: Message = { name: 'KeyValueList', fields: [many(1, 'values', () => KEY_VALUE)] }

const ENTITY_REF: Message = {
  name: 'EntityRef',
  fields: [
    field(1, 'schemaUrl', 'string'),
    field(2, 'type', 'string'),
    { number: 3, name: 'idKeys', kind: 'string', repeated: true },
    { number: 4, name: 'descriptionKeys', kind: 'string', repeated: true },
  ],
}

const RESOURCE_MESSAGE: Message = {
  name: 'Resource',
  fields: [
    many(1, 'attributes', () => KEY_VALUE),
    field(2, 'droppedAttributesCount', 'uint32'),
    many(3, 'entityRefs', () => ENTITY_REF),
  ],
}

const INSTRUMENTATION_SCOPE: Message = {
  name: 'InstrumentationScope',
  fields: [
    field(1, 'name', 'string'),
    field(2, 'version', 'string'),
    many(3, 'attributes', () => KEY_VALUE),
    field(4, 'droppedAttributesCount', 'uint32'),
  ],
}

const SPAN_EVENT: Message = {
  name: 'Event',
  fields: [
    field(1, 'timeUnixNano', 'fixed64'),
    field(2, 'name', 'string'),
    many(3, 'attributes', () => KEY_VALUE),
    field(4, 'droppedAttributesCount', 'uint32'),
  ],
}

const SPAN_LINK: Message = {
  name: 'Link',
  fields: [
    field(1, 'traceId', 'hex'),
    field(2, 'spanId', 'hex'),
    field(3, 'traceState', 'string'),
    many(4, 'attributes', () => KEY_VALUE),
    field(5, 'droppedAttributesCount', 'uint32'),
    field(6, 'flags', 'fixed32'),
  ],
}

const STATUS: Message = { name: 'Status', fields: [field(2, 'message', 'string'), field(3, 'code', 'enum')] }

const SPAN_MESSAGE: Message = {
  name: 'Span',
  fields: [
    field(1, 'traceId', 'hex'),
    field(2, 'spanId', 'hex'),
    field(3, 'traceState', 'string'),
    field(4, 'parentSpanId', 'hex'),
    field(16, 'flags', 'fixed32'),
    field(5, 'name', 'string'),
    field(6, 'kind', 'enum'),
    field(7, 'startTimeUnixNano', 'fixed64'),
    field(8, 'endTimeUnixNano', 'fixed64'),
    many(9, 'attributes', () => KEY_VALUE),
    field(10, 'droppedAttributesCount', 'uint32'),
    many(11, 'events', () => SPAN_EVENT),
    field(12, 'droppedEventsCount', 'uint32'),
    many(13, 'links', () => SPAN_LINK),
    field(14, 'droppedLinksCount', 'uint32'),
    one(15, 'status', () => STATUS),
  ],
}

const SCOPE_SPANS: Message = {
  name: 'ScopeSpans',
  fields: [
    one(1, 'scope', () => INSTRUMENTATION_SCOPE),
    many(2, 'spans', () => SPAN_MESSAGE),
    field(3, 'schemaUrl', 'string'),
  ],
}

const RESOURCE_SPANS: Message = {
  name: 'ResourceSpans',
  fields: [
    one(1, 'resource', () => RESOURCE_MESSAGE),
    many(2, 'scopeSpans', () => SCOPE_SPANS),
    field(3, 'schemaUrl', 'string'),
  ],
}

export const TRACE_REQUEST: Message = {
  name: 'ExportTraceServiceRequest',
  fields: [many(1, 'resourceSpans', () => RESOURCE_SPANS)],
}
