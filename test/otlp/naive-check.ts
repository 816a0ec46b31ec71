/**
 * Whether bytes are a valid ExportTraceServiceRequest, by a table of its messages and nothing else: the oracle for what
 * `proto/otlp/scan.ts` refuses. Not for requests that are refused for their size.
 */
type Kind = 'varint' | 'fixed64' | 'fixed32' | 'bytes' | 'id16' | 'id8' | 'any' | (() => Message)
interface Message {
  /** By field number. Of these numbers no other wire type is taken; of larger ones any. */
  readonly fields: readonly (Kind | undefined)[]
  /** Its values lie one deeper. */
  readonly isNested?: true
}

const message = (...kinds: Kind[]): Message => ({ fields: [undefined, ...kinds] })
const ANY_VALUE: Message = message(
  'bytes',
  'varint',
  'varint',
  'fixed64',
  () => ARRAY,
  () => LIST,
  'bytes',
  'varint',
)
const KEY_VALUE = message('bytes', () => ANY_VALUE, 'varint')
const ARRAY: Message = { ...message(() => ANY_VALUE), isNested: true }
const LIST: Message = { ...message(() => KEY_VALUE), isNested: true }
const EVENT = message('fixed64', 'bytes', () => KEY_VALUE, 'varint')
const LINK = message('id16', 'id8', 'bytes', () => KEY_VALUE, 'varint', 'fixed32')
const STATUS = message('any', 'bytes', 'varint')
const SPAN = message(
  'id16',
  'id8',
  'bytes',
  'id8',
  'bytes',
  'varint',
  'fixed64',
  'fixed64',
  () => KEY_VALUE,
  'varint',
  () => EVENT,
  'varint',
  () => LINK,
  'varint',
  () => STATUS,
  'fixed32',
)
const SCOPE = message('bytes', 'bytes', () => KEY_VALUE, 'varint')
const SCOPE_SPANS = message(
  () => SCOPE,
  () => SPAN,
  'bytes',
)
const ENTITY = message('bytes', 'bytes', 'bytes', 'bytes')
const RESOURCE = message(
  () => KEY_VALUE,
  'varint',
  () => ENTITY,
)
const RESOURCE_SPANS = message(
  () => RESOURCE,
  () => SCOPE_SPANS,
  'bytes',
)
const REQUEST = message(() => RESOURCE_SPANS)

const WIRES: Record<string, number> = { varint: 0, fixed64: 1, fixed32: 5 }
const DEEPEST = 63

export function isValidRequest(bytes: Uint8Array): boolean {
  return isValid(bytes, REQUEST, 0)
}

function isValid(bytes: Uint8Array, type: Message, depth: number): boolean {
  if (depth > DEEPEST) return false
  let at = 0
  /** Undefined: cut short or too long. */
  const varint = (): bigint | undefined => {
    let value = 0n
    for (let size = 0n; size < 10n; size++) {
      const byte = bytes[at++]
      if (byte === undefined) return undefined
      value |= BigInt(byte & 127) << (7n * size)
      if (byte < 128) return value
    }
    return undefined
  }
  while (at < bytes.length) {
    const tag = varint()
    if (tag === undefined || tag < 8n || tag > 0xffff_ffffn) return false
    const wire = Number(tag & 7n)
    const kind = type.fields[Number(tag >> 3n)]
    if (kind !== undefined && kind !== 'any' && wire !== (WIRES[kind as string] ?? 2)) return false
    if (wire === 0) {
      if (varint() === undefined) return false
      continue
    }
    const size = wire === 2 ? varint() : wire === 1 ? 8n : wire === 5 ? 4n : undefined
    if (size === undefined || size > BigInt(bytes.length - at)) return false
    const content = bytes.subarray(at, (at += Number(size)))
    if (!isContent(content, kind, depth)) return false
  }
  return true
}

function isContent(content: Uint8Array, kind: Kind | undefined, depth: number): boolean {
  if (kind === 'id16' || kind === 'id8')
    return content.length === 0 || content.length === Number(kind.slice(2))
  if (typeof kind !== 'function') return true
  const type = kind()
  return isValid(content, type, type.isNested === true ? depth + 1 : depth)
}
