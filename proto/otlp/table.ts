import { int64At } from '../wire.ts'

/**
 * The offset table of one ExportTraceServiceRequest: where everything lies in its bytes. Records of fixed width in
 * Int32Arrays; all offsets are from the start of the bytes; an absent value has offset -1 (fixed-size values) or
 * length 0 (strings).
 *
 *   resources ─< scopes ─< spans ─┬─< attrs          spans, scopes and resources are in wire order,
 *       └─< attrs   └─< attrs     ├─< events ─< attrs  and the scopes of a resource, the spans of a scope, the
 *                                 └─< links  ─< attrs  attributes of a place, are contiguous ranges [FIRST, END)
 *
 * field n of record i: `table.spans[i * SPAN.width + SPAN.nameOff]`.
 */
export interface SpanTable {
  readonly rows: number
  readonly spans: Int32Array
  readonly attrs: Int32Array
  readonly events: Int32Array
  readonly links: Int32Array
  readonly scopes: Int32Array
  readonly resources: Int32Array
  /** Empty unless keys are marked, as is `marked` (layout: signatures.ts). */
  readonly signatures: Int32Array
  readonly marked: Int32Array
  /** Some attribute key was not interned: its `ATTR_AT.key` is negative. */
  readonly hasForeignKeys: boolean
  /**
   * Some bytes that may be text are in no record: unknown fields, entity references, values that a later one replaced.
   * Who must see every text walks the messages instead (`rewriteTexts`).
   */
  readonly hasUnlisted: boolean
}

/** AnyValues may nest this deep; deeper is refused (the collector's limit for JSON; protobuf's own is 100). */
export const MAX_DEPTH = 64

/** One per span. */
export const SPAN = {
  width: 22,
  /** Content of the Span message. */
  off: 0,
  len: 1,
  scope: 2,
  /** Offset of 16 bytes, or -1. */
  traceId: 3,
  /** Offset of 8 bytes, or -1. */
  spanId: 4,
  /** Offset of 8 bytes, or -1. */
  parentId: 5,
  nameOff: 6,
  nameLen: 7,
  /** Offset of a little-endian uint64, or -1 for 0. */
  start: 8,
  end: 9,
  /** The enum's value itself. */
  kind: 10,
  /** The enum's value itself. */
  status: 11,
  messageOff: 12,
  messageLen: 13,
  stateOff: 14,
  stateLen: 15,
  firstAttr: 16,
  endAttr: 17,
  firstEvent: 18,
  endEvent: 19,
  firstLink: 20,
  endLink: 21,
} as const

/** One per attribute of a span, scope, resource, event or link; its index is the batch's AttrRef. */
export const ATTR_AT = {
  width: 4,
  /** The interned key's id (> 0), or -1 - p where p is the offset of the length varint of a key that was not interned. */
  key: 0,
  /** AnyValue's member by field number: 1 string, 2 bool, 3 int, 4 double, 5 array, 6 kvlist, 7 bytes; 0 empty. */
  type: 1,
  /** Content: UTF-8, bytes, the varint of a bool or int, the 8 bytes of a double, the ArrayValue or KeyValueList. */
  off: 2,
  len: 3,
} as const

export const EVENT = {
  width: 7,
  off: 0,
  len: 1,
  /** Offset of a little-endian uint64, or -1 for 0. */
  time: 2,
  nameOff: 3,
  nameLen: 4,
  firstAttr: 5,
  endAttr: 6,
} as const

export const LINK = {
  width: 8,
  off: 0,
  len: 1,
  traceId: 2,
  spanId: 3,
  stateOff: 4,
  stateLen: 5,
  firstAttr: 6,
  endAttr: 7,
} as const

/** One per ScopeSpans. */
export const SCOPE = {
  width: 13,
  /** Content of the ScopeSpans message. */
  off: 0,
  len: 1,
  resource: 2,
  nameOff: 3,
  nameLen: 4,
  versionOff: 5,
  versionLen: 6,
  schemaOff: 7,
  schemaLen: 8,
  firstAttr: 9,
  endAttr: 10,
  firstRow: 11,
  endRow: 12,
} as const

/** One per ResourceSpans. */
export const RESOURCE = {
  width: 8,
  /** Content of the ResourceSpans message. */
  off: 0,
  len: 1,
  schemaOff: 2,
  schemaLen: 3,
  firstAttr: 4,
  endAttr: 5,
  firstScope: 6,
  endScope: 7,
} as const

/** Where the bytes of a key that was not interned lie: `[offset, length]`. */
export function foreignKey(bytes: Uint8Array, key: number): [number, number] {
  let p = -1 - key
  let length = 0
  for (let scale = 1; ; scale *= 128) {
    const byte = bytes[p++]!
    length += (byte & 127) * scale
    if (byte < 128) return [p, length]
  }
}

/** The truth of the bool whose varint is at `pos`: any set bit. */
export function boolAt(bytes: Uint8Array, pos: number): boolean {
  return int64At(bytes, pos) !== 0n
}
