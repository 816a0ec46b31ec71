import { Cursor, WIRE, WireError } from '../wire.ts'
import type { Field, Kind, Message } from './schema.ts'

export type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json }
type Target = Record<string, unknown>

const DEPTH = 256

/**
 * The JSON value of a message, by the rules of OTLP/JSON (specification.md, "JSON Protobuf Encoding"): int64 as strings,
 * ids as hex, enums as numbers, zero values left out. Unknown fields are dropped. Scalars: the last one wins;
 * messages that come twice are merged.
 */
export function toJson(schema: Message, bytes: Uint8Array, from = 0, to = bytes.length): Json {
  const target: Target = {}
  merge(schema, new Cursor(bytes, from, to), target, 0)
  return target as Json
}

function merge(schema: Message, cursor: Cursor, target: Target, depth: number): void {
  if (depth > DEPTH) throw new WireError(cursor.pos, 'messages nest too deep')
  const fields = fieldsOf(schema)
  while (cursor.next()) {
    const field = fields[cursor.field]
    if (field === undefined) {
      cursor.skip()
      continue
    }
    cursor.expect(wireOf(field.kind))
    if (field.oneof === true) clearOthers(schema, field, target)
    if (field.kind === 'message') mergeMessage(field, cursor, target, depth)
    else put(field, scalar(field.kind, cursor), target)
  }
}

function mergeMessage(field: Field, cursor: Cursor, target: Target, depth: number): void {
  const inner = cursor.message()
  const known = target[field.name]
  if (field.repeated === true) {
    const element: Target = {}
    if (known === undefined) target[field.name] = [element]
    else (known as Target[]).push(element)
    merge(field.message!(), inner, element, depth + 1)
    return
  }
  // A member of a oneof replaces what was there, of its own kind too, as in the collector's pdata; others merge.
  const element = (field.oneof === true ? {} : (known ?? {})) as Target
  target[field.name] = element
  merge(field.message!(), inner, element, depth + 1)
}

function put(field: Field, value: unknown, target: Target): void {
  if (field.repeated === true) {
    const known = target[field.name] as unknown[] | undefined
    if (known === undefined) target[field.name] = [value]
    else known.push(value)
  } else if (field.oneof !== true && (value === 0 || value === '' || value === '0' || value === false)) {
    delete target[field.name]
  } else target[field.name] = value
}

function clearOthers(schema: Message, field: Field, target: Target): void {
  for (const other of schema.fields) if (other.oneof === true && other !== field) delete target[other.name]
}

function scalar(kind: Kind, cursor: Cursor): unknown {
  switch (kind) {
    case 'string':
      return cursor.string()
    case 'bytes':
      return cursor.view().toString('base64')
    case 'hex':
      return cursor.view().toString('hex')
    case 'bool':
      return cursor.int64() !== 0n
    case 'int64':
      return cursor.int64().toString()
    case 'uint32':
      return cursor.uint32()
    case 'int32':
    case 'enum':
      return cursor.int32()
    case 'double':
      return jsonDouble(cursor.bytes.readDoubleLE(cursor.fixed(8)))
    case 'fixed32':
      return cursor.bytes.readUInt32LE(cursor.fixed(4))
    case 'fixed64':
      return cursor.bytes.readBigUInt64LE(cursor.fixed(8)).toString()
    case 'message':
      break
  }
  throw new Error(`${kind} is not a scalar`)
}

/** proto3 JSON: "NaN", "Infinity", "-Infinity" are strings; so is "-0", which JSON.stringify would lose the sign of. */
function jsonDouble(value: number): number | string {
  if (Object.is(value, -0)) return '-0'
  return Number.isFinite(value) ? value : String(value)
}

export function wireOf(kind: Kind): number {
  switch (kind) {
    case 'string':
    case 'bytes':
    case 'hex':
    case 'message':
      return WIRE.len
    case 'double':
    case 'fixed64':
      return WIRE.i64
    case 'fixed32':
      return WIRE.i32
    case 'bool':
    case 'int64':
    case 'uint32':
    case 'int32':
    case 'enum':
      break
  }
  return WIRE.varint
}

const byNumber = new WeakMap<Message, (Field | undefined)[]>()

function fieldsOf(schema: Message): (Field | undefined)[] {
  let fields = byNumber.get(schema)
  if (fields === undefined) {
    fields = []
    for (const field of schema.fields) fields[field.number] = field
    byNumber.set(schema, fields)
  }
  return fields
}
