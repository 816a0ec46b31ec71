import {
  ATTR_AT,
  EVENT,
  foreignKey,
  LINK,
  RESOURCE,
  SCOPE,
  SPAN,
  type SpanTable,
} from '../../proto/otlp/table.ts'
import { valueText } from '../../proto/otlp/values.ts'
import { Repeated } from '../../proto/repeated.ts'
import { viewOf } from '../../proto/short-bytes.ts'
import { intAt } from '../../proto/wire.ts'
import { ATTR, type AttrRange, type AttrRef, type AttrType, type EventRange, NONE } from './batch.ts'
import { FOREIGN, type KeyId, keyBytes, keyName } from './keys.ts'

/** The process's repeated values. */
const WORDS = new Repeated()
const NO_ID = new Uint8Array(0)
/** Bytes of a decimal string: beyond it, a text is not taken for a number. */
const LONGEST_NUMBER = 64
const DECIMAL = /^\s*[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?\s*$/

/** The reading half of a batch: what the bytes say, before any edit. */
export class TableReader {
  readonly rows: number
  bytes: Buffer
  table: SpanTable

  constructor(bytes: Buffer, table: SpanTable) {
    this.bytes = bytes
    this.table = table
    this.rows = table.rows
  }

  spanSize(row: number): number {
    return this.#span(row, SPAN.len)
  }

  traceId(row: number): Uint8Array {
    return this.#id(this.#span(row, SPAN.traceId), 16)
  }

  spanId(row: number): Uint8Array {
    return this.#id(this.#span(row, SPAN.spanId), 8)
  }

  parentSpanId(row: number): Uint8Array {
    return this.#id(this.#span(row, SPAN.parentId), 8)
  }

  name(row: number): string {
    return this.#text(this.table.spans, row * SPAN.width + SPAN.nameOff)
  }

  kind(row: number): number {
    return this.#span(row, SPAN.kind)
  }

  startNs(row: number): bigint {
    return this.#ns(this.#span(row, SPAN.start))
  }

  endNs(row: number): bigint {
    return this.#ns(this.#span(row, SPAN.end))
  }

  startMs(row: number): number {
    const at = this.#span(row, SPAN.start)
    if (at < 0) return 0
    // 2^32 ns = 4294 ms + 967296 ns: exact, where the sum in ns would be rounded to 53 bits.
    const view = viewOf(this.bytes)
    const high = view.getUint32(at + 4, true)
    return high * 4294 + Math.floor((high * 967296 + view.getUint32(at, true)) / 1e6)
  }

  durationNs(row: number): bigint {
    const duration = this.endNs(row) - this.startNs(row)
    return duration > 0n ? duration : 0n
  }

  statusCode(row: number): number {
    return this.#span(row, SPAN.status)
  }

  statusMessage(row: number): string {
    return this.#text(this.table.spans, row * SPAN.width + SPAN.messageOff)
  }

  traceState(row: number): string {
    return this.#text(this.table.spans, row * SPAN.width + SPAN.stateOff)
  }

  scopeName(row: number): string {
    const at = this.#scope(row)
    const { scopes } = this.table
    return WORDS.text(this.bytes, scopes[at + SCOPE.nameOff]!, scopes[at + SCOPE.nameLen]!)
  }

  scopeVersion(row: number): string {
    return this.#text(this.table.scopes, this.#scope(row) + SCOPE.versionOff)
  }

  attr(row: number, key: KeyId): AttrRef {
    const base = row * SPAN.width
    const { spans } = this.table
    return this.find(spans[base + SPAN.firstAttr]!, spans[base + SPAN.endAttr]!, key)
  }

  resourceAttr(row: number, key: KeyId): AttrRef {
    return this.#attrOfResource(this.#resource(row), key)
  }

  attrOfResource(resource: number, key: KeyId): AttrRef {
    return this.#attrOfResource(resource * RESOURCE.width, key)
  }

  scopeAttr(row: number, key: KeyId): AttrRef {
    const base = this.#scope(row)
    const { scopes } = this.table
    return this.find(scopes[base + SCOPE.firstAttr]!, scopes[base + SCOPE.endAttr]!, key)
  }

  /** The first attribute in [first, end) with the key. */
  find(first: number, end: number, key: KeyId): AttrRef {
    const { attrs } = this.table
    for (let ref = first; ref < end; ref++) if (attrs[ref * ATTR_AT.width] === key) return ref as AttrRef
    return this.table.hasForeignKeys ? this.#findForeign(first, end, key) : NONE
  }

  attrs(row: number, place: 'span' | 'resource' | 'scope'): AttrRange {
    if (place === 'span') return range(this.table.spans, row * SPAN.width + SPAN.firstAttr)
    if (place === 'scope') return range(this.table.scopes, this.#scope(row) + SCOPE.firstAttr)
    return range(this.table.resources, this.#resource(row) + RESOURCE.firstAttr)
  }

  key(ref: AttrRef): string {
    const key = this.#attr(ref, ATTR_AT.key)
    if (key > 0) return keyName(key as KeyId)
    const [off, len] = foreignKey(this.bytes, key)
    return this.bytes.toString('utf8', off, off + len)
  }

  keyId(ref: AttrRef): KeyId {
    const key = this.#attr(ref, ATTR_AT.key)
    return key > 0 ? (key as KeyId) : FOREIGN
  }

  type(ref: AttrRef): AttrType {
    return this.#attr(ref, ATTR_AT.type) as AttrType
  }

  string(ref: AttrRef): string {
    if (this.#attr(ref, ATTR_AT.type) !== ATTR.string) return ''
    return this.#text(this.table.attrs, ref * ATTR_AT.width + ATTR_AT.off)
  }

  word(ref: AttrRef): string {
    const base = ref * ATTR_AT.width
    const { attrs } = this.table
    if (attrs[base + ATTR_AT.type] !== ATTR.string) return ''
    return WORDS.text(this.bytes, attrs[base + ATTR_AT.off]!, attrs[base + ATTR_AT.len]!)
  }

  number(ref: AttrRef): number {
    const off = this.#attr(ref, ATTR_AT.off)
    switch (this.#attr(ref, ATTR_AT.type)) {
      case ATTR.int:
        return intAt(this.bytes, off)
      case ATTR.double:
        return this.bytes.readDoubleLE(off)
      case ATTR.string:
        return decimal(this.#shortText(ref))
      default:
        return Number.NaN
    }
  }

  text(ref: AttrRef): string {
    const base = ref * ATTR_AT.width
    const { attrs } = this.table
    return valueText(
      this.bytes,
      attrs[base + ATTR_AT.type]!,
      attrs[base + ATTR_AT.off]!,
      attrs[base + ATTR_AT.len]!,
    )
  }

  size(ref: AttrRef): number {
    return this.#attr(ref, ATTR_AT.len)
  }

  content(ref: AttrRef): Uint8Array {
    const off = this.#attr(ref, ATTR_AT.off)
    return this.bytes.subarray(off, off + this.#attr(ref, ATTR_AT.len))
  }

  largeValues(bytes: number): readonly AttrRef[] {
    const { attrs } = this.table
    const found: AttrRef[] = []
    for (let at = ATTR_AT.len; at < attrs.length; at += ATTR_AT.width) {
      if (attrs[at]! >= bytes) found.push(((at - ATTR_AT.len) / ATTR_AT.width) as AttrRef)
    }
    return found
  }

  events(row: number): EventRange {
    return range(this.table.spans, row * SPAN.width + SPAN.firstEvent)
  }

  eventName(event: number): string {
    return this.#text(this.table.events, event * EVENT.width + EVENT.nameOff)
  }

  eventTimeNs(event: number): bigint {
    return this.#ns(this.table.events[event * EVENT.width + EVENT.time]!)
  }

  eventAttrs(event: number): AttrRange {
    return range(this.table.events, event * EVENT.width + EVENT.firstAttr)
  }

  links(row: number): EventRange {
    return range(this.table.spans, row * SPAN.width + SPAN.firstLink)
  }

  linkTraceId(link: number): Uint8Array {
    return this.#id(this.table.links[link * LINK.width + LINK.traceId]!, 16)
  }

  linkSpanId(link: number): Uint8Array {
    return this.#id(this.table.links[link * LINK.width + LINK.spanId]!, 8)
  }

  linkTraceState(link: number): string {
    return this.#text(this.table.links, link * LINK.width + LINK.stateOff)
  }

  linkAttrs(link: number): AttrRange {
    return range(this.table.links, link * LINK.width + LINK.firstAttr)
  }

  #span(row: number, field: number): number {
    return this.table.spans[row * SPAN.width + field]!
  }

  /** Where the record of the row's scope starts. */
  #scope(row: number): number {
    return this.#span(row, SPAN.scope) * SCOPE.width
  }

  #resource(row: number): number {
    return this.table.scopes[this.#scope(row) + SCOPE.resource]! * RESOURCE.width
  }

  #attrOfResource(base: number, key: KeyId): AttrRef {
    const { resources } = this.table
    return this.find(resources[base + RESOURCE.firstAttr]!, resources[base + RESOURCE.endAttr]!, key)
  }

  #attr(ref: number, field: number): number {
    return this.table.attrs[ref * ATTR_AT.width + field]!
  }

  #findForeign(first: number, end: number, key: KeyId): AttrRef {
    const wanted = keyBytes(key)
    for (let ref = first; ref < end; ref++) {
      const foreign = this.#attr(ref, ATTR_AT.key)
      if (foreign > 0) continue
      const [off, len] = foreignKey(this.bytes, foreign)
      if (len === wanted.length && this.bytes.compare(wanted, 0, len, off, off + len) === 0)
        return ref as AttrRef
    }
    return NONE
  }

  /** A string that may be a number; '' when it is too long for one. */
  #shortText(ref: number): string {
    const len = this.#attr(ref, ATTR_AT.len)
    const off = this.#attr(ref, ATTR_AT.off)
    return len > LONGEST_NUMBER ? '' : this.bytes.toString('latin1', off, off + len)
  }

  /** `record[at]` is an offset, `record[at + 1]` a length. */
  #text(record: Int32Array, at: number): string {
    const off = record[at]!
    const len = record[at + 1]!
    return len === 0 ? '' : this.bytes.toString('utf8', off, off + len)
  }

  #id(off: number, size: number): Uint8Array {
    return off < 0 ? NO_ID : this.bytes.subarray(off, off + size)
  }

  #ns(off: number): bigint {
    return off < 0 ? 0n : this.bytes.readBigUInt64LE(off)
  }
}

/** The number in a decimal string; NaN for any other text, '' and hex included. */
export function decimal(text: string): number {
  return text.length <= LONGEST_NUMBER && DECIMAL.test(text) ? Number(text) : Number.NaN
}

function range(record: Int32Array, at: number): AttrRange {
  return { first: record[at]!, end: record[at + 1]! }
}
