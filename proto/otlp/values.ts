import { bufferOf, Cursor, int64At, Sink, WIRE } from '../wire.ts'
import { boolAt } from './table.ts'

/** A value that an edit puts in place of another. A number is an int when it is a safe integer, else a double. */
export type Literal = string | number | bigint | boolean | readonly string[]

/**
 * The text of a value as the collector writes it into string columns: `pcommon.Value.AsString` of
 * open-telemetry/opentelemetry-collector pdata/pcommon/value.go. Strings as they are, bytes as base64, lists and maps
 * as Go's encoding/json has them (map keys sorted, of equal keys the last; '' when they hold a NaN or an infinity).
 * `type` is AnyValue's member number; [off, off + len) the content, as in the table's ATTR_AT.
 */
export function valueText(bytes: Uint8Array, type: number, off: number, len: number): string {
  const buffer = bufferOf(bytes)
  switch (type) {
    case 1:
      return buffer.toString('utf8', off, off + len)
    case 2:
      return boolAt(buffer, off) ? 'true' : 'false'
    case 3:
      return int64At(buffer, off).toString()
    case 4:
      return doubleText(buffer.readDoubleLE(off))
    case 7:
      return buffer.toString('base64', off, off + len)
    case 5:
    case 6:
      return goJson(type === 5 ? listOf(buffer, off, off + len) : mapOf(buffer, off, off + len))
    default:
      return ''
  }
}

/** As `valueText`, for a literal. */
export function literalText(value: Literal): string {
  if (typeof value === 'string') return value
  if (typeof value === 'object') return goJson({ list: value.map((item) => jsonString(item)) })
  if (typeof value === 'number' && !Number.isSafeInteger(value)) return doubleText(value)
  return Object.is(value, -0) ? '0' : String(value)
}

/** AnyValue's member number for a literal. */
export function literalType(value: Literal): 1 | 2 | 3 | 4 | 5 {
  if (typeof value === 'string') return 1
  if (typeof value === 'boolean') return 2
  if (typeof value === 'bigint') return 3
  if (typeof value === 'number') return Number.isSafeInteger(value) ? 3 : 4
  return 5
}

/** The content of an AnyValue message. */
export function writeLiteral(sink: Sink, value: Literal): void {
  const type = literalType(value)
  if (typeof value === 'string') {
    sink.tag(1, WIRE.len)
    sink.string(value)
  } else if (typeof value === 'boolean') {
    sink.tag(2, WIRE.varint)
    sink.varint(value ? 1 : 0)
  } else if (typeof value === 'bigint' || type === 3) {
    sink.tag(3, WIRE.varint)
    sink.varint64(BigInt(value as bigint | number))
  } else if (typeof value === 'number') {
    sink.tag(4, WIRE.i64)
    sink.double(value)
  } else {
    const list = sink.open(5)
    for (const item of value) {
      const element = sink.open(1)
      writeLiteral(sink, item)
      sink.close(element)
    }
    sink.close(list)
  }
}

/** Bytes of a literal's content on the wire, as the table's `ATTR_AT.len` counts them. */
export function literalSize(value: Literal): number {
  return typeof value === 'string' ? Buffer.byteLength(value) : literalContent(value).length
}

/** A literal's content on the wire, as the table's `ATTR_AT.off` and `len` give that of a value. */
export function literalContent(value: Literal): Uint8Array {
  if (typeof value === 'string') return Buffer.from(value)
  const sink = new Sink(64)
  writeLiteral(sink, value)
  const cursor = new Cursor(sink.take())
  cursor.next()
  if (cursor.wire === WIRE.len) return cursor.view()
  const content = cursor.pos
  cursor.skip()
  return cursor.bytes.subarray(content, cursor.pos)
}

/** Go's `encoding/json` and ES agree on floats (`float64AsString` there), except that Go keeps the sign of -0. */
export function doubleText(value: number): string {
  return Object.is(value, -0) ? '-0' : String(value)
}

/** JSON text of a value, or its parts; undefined where Go's encoder refuses it. */
type Node = string | undefined | { readonly list: readonly Node[] } | { readonly map: Map<string, Node> }

function goJson(node: Node): string {
  return render(node) ?? ''
}

function render(node: Node): string | undefined {
  if (typeof node === 'string' || node === undefined) return node
  const parts: string[] = []
  if ('list' in node) {
    for (const item of node.list) {
      const text = render(item)
      if (text === undefined) return undefined
      parts.push(text)
    }
    return `[${parts.join(',')}]`
  }
  const keys = [...node.map.keys()].sort((a, b) => Buffer.compare(Buffer.from(a), Buffer.from(b)))
  for (const key of keys) {
    const text = render(node.map.get(key))
    if (text === undefined) return undefined
    parts.push(`${jsonString(key)}:${text}`)
  }
  return `{${parts.join(',')}}`
}

function listOf(bytes: Uint8Array, from: number, to: number): Node {
  const list: Node[] = []
  const cursor = new Cursor(bytes, from, to)
  while (cursor.next()) {
    if (cursor.field === 1) list.push(anyValue(cursor.message(), 'null'))
    else cursor.skip()
  }
  return { list }
}

function mapOf(bytes: Uint8Array, from: number, to: number): Node {
  const map = new Map<string, Node>()
  const cursor = new Cursor(bytes, from, to)
  while (cursor.next()) {
    if (cursor.field !== 1) {
      cursor.skip()
      continue
    }
    let key = ''
    let value: Node = 'null'
    const inner = cursor.message()
    while (inner.next()) {
      if (inner.field === 1) key = inner.string()
      else if (inner.field === 2) value = anyValue(inner.message(), value)
      else inner.skip()
    }
    map.set(key, value)
  }
  return { map }
}

function anyValue(cursor: Cursor, before: Node): Node {
  let value = before
  while (cursor.next()) value = member(cursor, value)
  return value
}

function member(cursor: Cursor, before: Node): Node {
  switch (cursor.field) {
    case 1:
      return jsonString(cursor.string())
    case 2:
      return cursor.int64() !== 0n ? 'true' : 'false'
    case 3:
      return cursor.int64().toString()
    case 4: {
      const value = cursor.bytes.readDoubleLE(cursor.fixed(8))
      return Number.isFinite(value) ? doubleText(value) : undefined
    }
    case 5: {
      const content = cursor.len()
      return listOf(cursor.bytes, content, cursor.pos)
    }
    case 6: {
      const content = cursor.len()
      return mapOf(cursor.bytes, content, cursor.pos)
    }
    case 7: {
      // Go has no bytes here but a nil slice, which its encoder writes as null.
      const bytes = cursor.view()
      return bytes.length === 0 ? 'null' : `"${bytes.toString('base64')}"`
    }
    default:
      cursor.skip()
      return before
  }
}

/** As Go writes a JSON string with HTML escaping off: control characters, quotes, backslash, U+2028 and U+2029 escaped. */
function jsonString(text: string): string {
  return JSON.stringify(text).replaceAll('\u2028', '\\u2028').replaceAll('\u2029', '\\u2029')
}
