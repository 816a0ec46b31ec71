import { Sink } from '../wire.ts'
import { MAX_DEPTH } from './table.ts'
import { ANY_VALUE, type Field, type Message } from './schema.ts'
import { wireOf } from './to-json.ts'

/** JSON that is not OTLP: where (a path such as `resourceSpans[0].schemaUrl`, '' for the whole), and what is wrong. */
export class JsonError extends Error {
  override readonly name = 'JsonError'
  readonly path: string

  constructor(path: string, reason: string) {
    super(path === '' ? reason : `${path}: ${reason}`)
    this.path = path
  }
}

/** What a long integer literal becomes before JSON.parse would round it: see `keepLongIntegers`. */
const LONG = '\u0000int'

/**
 * The protobuf bytes of an OTLP/JSON document. Lenient where the specification says so: hex ids in any case, 64-bit
 * integers as strings or numbers, unknown and snake_case keys ignored, null = unset. Strict otherwise. Of keys that
 * come twice the last one counts (JSON.parse). Invalid UTF-8 becomes U+FFFD.
 */
export function fromJson(schema: Message, bytes: Uint8Array): Buffer {
  const text = keepLongIntegers(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('utf8'))
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (error) {
    throw new JsonError('', `the body is not JSON${positionOf(error)}`)
  }
  const sink = new Sink(Math.max(256, bytes.length >> 1))
  message(schema, value, sink, [], 0)
  return sink.take()
}

/** Only where it is: the engine's message quotes the body, and what a sender wrote stays out of logs. */
function positionOf(error: unknown): string {
  return / at position \d+/.exec(String(error))?.[0] ?? ''
}

/** Keys and indexes from the root; joined only for an error. */
type Path = (string | number)[]

function fail(path: Path, reason: string): never {
  let text = ''
  for (const step of path) text += typeof step === 'number' ? `[${step}]` : text === '' ? step : `.${step}`
  throw new JsonError(text, reason)
}

function message(schema: Message, value: unknown, sink: Sink, path: Path, depth: number): void {
  if (!isObject(value)) fail(path, `expected an object, got ${nameOf(value)}`)
  if (depth >= MAX_DEPTH) fail(path.slice(0, 8), `values nest deeper than ${MAX_DEPTH}`)
  const inner = schema === ANY_VALUE ? depth + 1 : depth
  let chosen: string | undefined
  for (const field of schema.fields) {
    const entry = value[field.name]
    if (entry === undefined || entry === null) continue
    path.push(field.name)
    if (field.oneof === true) {
      if (chosen !== undefined) fail(path, `${chosen} is set as well; a value is one of the two`)
      chosen = field.name
    }
    if (field.repeated === true) elements(field, entry, sink, path, inner)
    else single(field, entry, sink, path, inner)
    path.pop()
  }
}

function elements(field: Field, entry: unknown, sink: Sink, path: Path, depth: number): void {
  if (!Array.isArray(entry)) fail(path, `expected an array, got ${nameOf(entry)}`)
  const { length } = entry
  for (let i = 0; i < length; i++) {
    path.push(i)
    const element: unknown = entry[i]
    if (element === null) fail(path, 'expected a value, got null')
    single(field, element, sink, path, depth)
    path.pop()
  }
}

function single(field: Field, value: unknown, sink: Sink, path: Path, depth: number): void {
  if (field.kind === 'message') {
    const mark = sink.open(field.number)
    message(field.message!(), value, sink, path, depth)
    sink.close(mark)
    return
  }
  sink.tag(field.number, wireOf(field.kind))
  scalar(field, value, sink, path)
}

function scalar(field: Field, value: unknown, sink: Sink, path: Path): void {
  switch (field.kind) {
    case 'string':
      if (typeof value !== 'string') fail(path, `expected a string, got ${nameOf(value)}`)
      return sink.string(value)
    case 'bytes':
      return sink.bytes(base64(value, path))
    case 'hex':
      return sink.bytes(hex(value, path))
    case 'bool':
      if (typeof value !== 'boolean') fail(path, `expected true or false, got ${nameOf(value)}`)
      return sink.varint(value ? 1 : 0)
    case 'int64':
      return sink.varint64(integer(value, path, -(2n ** 63n), 2n ** 63n - 1n))
    case 'uint32':
      return sink.varint64(integer(value, path, 0n, 2n ** 32n - 1n))
    case 'int32':
      return sink.varint64(integer(value, path, -(2n ** 31n), 2n ** 31n - 1n))
    case 'enum':
      if (typeof value !== 'number') fail(path, `expected the number of an enum value, got ${nameOf(value)}`)
      return sink.varint64(integer(value, path, -(2n ** 31n), 2n ** 31n - 1n))
    case 'double':
      return sink.double(double(value, path))
    case 'fixed32':
      return sink.fixed32(Number(integer(value, path, 0n, 2n ** 32n - 1n)))
    case 'fixed64':
      return sink.fixed64(integer(value, path, 0n, 2n ** 64n - 1n))
    case 'message':
      throw new Error('a message is not a scalar')
  }
}

const INTEGER = /^-?\d{1,20}$/
/** proto3 JSON also takes integers written with a fraction of zeros or an exponent. */
const FLOAT = /^-?\d{1,400}(\.\d{1,400})?([eE][+-]?\d{1,4})?$/

function integer(value: unknown, path: Path, low: bigint, high: bigint): bigint {
  const number = toBigInt(value)
  if (number === undefined) fail(path, `expected an integer, got ${nameOf(value)}`)
  if (number < low || number > high) fail(path, `${number} is out of range`)
  return number
}

function toBigInt(value: unknown): bigint | undefined {
  if (typeof value === 'number') return Number.isInteger(value) ? BigInt(value) : undefined
  const text = longInteger(value) ?? value
  if (typeof text !== 'string') return undefined
  if (INTEGER.test(text)) return BigInt(text)
  if (!FLOAT.test(text)) return undefined
  const number = Number(text)
  return Number.isSafeInteger(number) ? BigInt(number) : undefined
}

function double(value: unknown, path: Path): number {
  const text = longInteger(value) ?? value
  if (text === 'NaN' || text === 'Infinity' || text === '-Infinity') return Number(text)
  const number =
    typeof text === 'number' || (typeof text === 'string' && FLOAT.test(text)) ? Number(text) : undefined
  if (number === undefined) fail(path, `expected a number, got ${nameOf(value)}`)
  if (!Number.isFinite(number)) fail(path, 'the number is out of range')
  return number
}

const HEX = /^[0-9a-fA-F]*$/

function hex(value: unknown, path: Path): Buffer {
  if (typeof value !== 'string') fail(path, `expected a hex string, got ${nameOf(value)}`)
  const size = path.at(-1) === 'traceId' ? 32 : 16
  if (value.length !== 0 && value.length !== size) {
    fail(path, `expected ${size} hex digits, got ${value.length} characters`)
  }
  if (!HEX.test(value)) fail(path, 'expected hex digits only')
  return Buffer.from(value, 'hex')
}

/** Looked for one by one: a pattern of the whole string would need a stack as long as the string. */
const NOT_BASE64 = /[^A-Za-z0-9+/_-]/

/** Standard or URL-safe, padded or not (proto3 JSON). */
function base64(value: unknown, path: Path): Buffer {
  if (typeof value !== 'string') fail(path, `expected a base64 string, got ${nameOf(value)}`)
  const end = value.endsWith('==') ? value.length - 2 : value.length - Number(value.endsWith('='))
  if (NOT_BASE64.test(value.slice(0, end))) fail(path, 'expected base64')
  return Buffer.from(value, 'base64')
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function nameOf(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'an array'
  if (longInteger(value) !== undefined) return 'a number'
  if (typeof value === 'object') return 'an object'
  return typeof value === 'string' ? 'a string' : `a ${typeof value}`
}

function longInteger(value: unknown): string | undefined {
  if (!isObject(value)) return undefined
  const text = value[LONG]
  return typeof text === 'string' ? text : undefined
}

const QUOTE = 0x22
const BACKSLASH = 0x5c

/**
 * JSON.parse rounds integers beyond 2^53, and senders do write nanoseconds as numbers (specification: "either numbers or
 * strings are accepted when decoding"). So literals of 16 digits and more are put into an object, `{"\0int":"…"}`, that
 * only integer and double fields accept; everything else goes on to report a number where none may be. (Node 20 has no
 * reviver with source text.) Costs one regular expression where there are none.
 */
function keepLongIntegers(text: string): string {
  if (!/[[:,\s]-?\d{16}/.test(text)) return text
  let out = ''
  let copied = 0
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i)
    if (code === QUOTE) {
      for (i++; i < text.length && text.charCodeAt(i) !== QUOTE; i++) {
        if (text.charCodeAt(i) === BACKSLASH) i++
      }
    } else if (isDigit(code)) {
      const start = i
      let isInteger = code !== 0x30
      for (; isNumberPart(text.charCodeAt(i + 1)); i++) isInteger &&= isDigit(text.charCodeAt(i + 1))
      const digits = i + 1 - start
      if (!isInteger || digits < 16 || digits > LONGEST_INTEGER) continue
      const first = text.charAt(start - 1) === '-' ? start - 1 : start
      out += `${text.slice(copied, first)}{"\\u0000int":"${text.slice(first, i + 1)}"}`
      copied = i + 1
    }
  }
  return out + text.slice(copied)
}

/** Digits of an integer literal that is kept; what is longer is out of range for any field. */
const LONGEST_INTEGER = 400

/** A digit, or one of `.eE+-`. */
function isNumberPart(code: number): boolean {
  return isDigit(code) || code === 0x2e || code === 0x65 || code === 0x45 || code === 0x2b || code === 0x2d
}

function isDigit(code: number): boolean {
  return code >= 0x30 && code <= 0x39
}
