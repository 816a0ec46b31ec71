/**
 * A decoder of ExportTraceServiceRequest that is as plain as can be: every message becomes an object, bytes are read one
 * by one, numbers are BigInts. The oracle for `proto/otlp/scan.ts` and for everything that edits and encodes.
 */
export interface Attribute {
  key: string
  value: Value
}
/** [AnyValue's member number, content]; [0] for an empty value. */
export type Value =
  | [0]
  | [1, string]
  | [2, boolean]
  | [3, bigint]
  | [4, number]
  | [5, Value[]]
  | [6, Attribute[]]
  | [7, string]
export interface SpanEvent {
  timeNs: bigint
  name: string
  attributes: Attribute[]
}
export interface Link {
  traceId: string
  spanId: string
  traceState: string
  attributes: Attribute[]
}
export interface Row {
  traceId: string
  spanId: string
  parentSpanId: string
  traceState: string
  name: string
  kind: number
  startNs: bigint
  endNs: bigint
  attributes: Attribute[]
  events: SpanEvent[]
  links: Link[]
  statusCode: number
  statusMessage: string
  scopeName: string
  scopeVersion: string
  scopeAttributes: Attribute[]
  resourceAttributes: Attribute[]
}

interface Field {
  number: number
  /** bigint for varint, the bytes for the others. */
  value: bigint | Uint8Array
}

function fields(bytes: Uint8Array): Field[] {
  const out: Field[] = []
  let at = 0
  const varint = (): bigint => {
    let value = 0n
    for (let shift = 0n; ; shift += 7n) {
      const byte = bytes[at++]!
      value |= BigInt(byte & 0x7f) << shift
      if (byte < 0x80) return BigInt.asUintN(64, value)
    }
  }
  const take = (size: number): Uint8Array => {
    at += size
    return bytes.slice(at - size, at)
  }
  while (at < bytes.length) {
    const tag = varint()
    const wire = Number(tag & 7n)
    const number = Number(tag >> 3n)
    if (wire === 0) out.push({ number, value: varint() })
    else if (wire === 1) out.push({ number, value: take(8) })
    else if (wire === 2) out.push({ number, value: take(Number(varint())) })
    else out.push({ number, value: take(4) })
  }
  return out
}

const hex = (value: unknown): string => Buffer.from(value as Uint8Array).toString('hex')
const text = (value: unknown): string => Buffer.from(value as Uint8Array).toString('utf8')
const int32 = (value: unknown): number => Number(BigInt.asIntN(32, value as bigint))
const uint64 = (value: unknown): bigint => Buffer.from(value as Uint8Array).readBigUInt64LE()

/** The last field of that number, or undefined. */
function last(all: Field[], number: number): Field['value'] | undefined {
  return all.findLast((field) => field.number === number)?.value
}

/** The pieces of a message field, merged: their fields one after the other. */
function merged(all: Field[], number: number): Field[] {
  return all.filter((field) => field.number === number).flatMap((field) => fields(field.value as Uint8Array))
}

function each(all: Field[], number: number): Field[][] {
  return all.filter((field) => field.number === number).map((field) => fields(field.value as Uint8Array))
}

function optional<T>(value: Field['value'] | undefined, read: (value: unknown) => T, absent: T): T {
  return value === undefined ? absent : read(value)
}

function attributes(all: Field[], number: number): Attribute[] {
  return each(all, number).map((pair) => ({
    key: optional(last(pair, 1), text, ''),
    value: anyValue(merged(pair, 2)),
  }))
}

function anyValue(all: Field[]): Value {
  const field = all.findLast((one) => one.number >= 1 && one.number <= 7)
  if (field === undefined) return [0]
  const { value } = field
  switch (field.number) {
    case 1:
      return [1, text(value)]
    case 2:
      return [2, value !== 0n]
    case 3:
      return [3, BigInt.asIntN(64, value as bigint)]
    case 4:
      return [4, Buffer.from(value as Uint8Array).readDoubleLE()]
    case 5:
      return [5, each(fields(value as Uint8Array), 1).map(anyValue)]
    case 6:
      return [6, attributes(fields(value as Uint8Array), 1)]
    default:
      return [7, hex(value)]
  }
}

function spanRow(all: Field[], scope: Field[], resource: Field[]): Row {
  const status = merged(all, 15)
  return {
    traceId: optional(last(all, 1), hex, ''),
    spanId: optional(last(all, 2), hex, ''),
    parentSpanId: optional(last(all, 4), hex, ''),
    traceState: optional(last(all, 3), text, ''),
    name: optional(last(all, 5), text, ''),
    kind: optional(last(all, 6), int32, 0),
    startNs: optional(last(all, 7), uint64, 0n),
    endNs: optional(last(all, 8), uint64, 0n),
    attributes: attributes(all, 9),
    events: each(all, 11).map((event) => ({
      timeNs: optional(last(event, 1), uint64, 0n),
      name: optional(last(event, 2), text, ''),
      attributes: attributes(event, 3),
    })),
    links: each(all, 13).map((link) => ({
      traceId: optional(last(link, 1), hex, ''),
      spanId: optional(last(link, 2), hex, ''),
      traceState: optional(last(link, 3), text, ''),
      attributes: attributes(link, 4),
    })),
    statusCode: optional(last(status, 3), int32, 0),
    statusMessage: optional(last(status, 2), text, ''),
    scopeName: optional(last(scope, 1), text, ''),
    scopeVersion: optional(last(scope, 2), text, ''),
    scopeAttributes: attributes(scope, 3),
    resourceAttributes: attributes(resource, 1),
  }
}

export function naiveRows(bytes: Uint8Array): Row[] {
  return each(fields(bytes), 1).flatMap((resourceSpans) =>
    each(resourceSpans, 2).flatMap((scopeSpans) =>
      each(scopeSpans, 2).map((span) => spanRow(span, merged(scopeSpans, 1), merged(resourceSpans, 1))),
    ),
  )
}
