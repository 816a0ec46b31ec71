import type { KeyInterner } from '../intern.ts'
import { int64At, WireError } from '../wire.ts'
import { ATTR_AT, EVENT, LINK, RESOURCE, SCOPE, SPAN, type SpanTable } from './table.ts'

/** AnyValues may nest this deep; deeper is refused (the collector's limit for JSON; protobuf's own is 100). */
export const MAX_DEPTH = 64

/**
 * The table may take this many bytes for each byte of the request, plus FREE. A span with its ids takes 3, an attribute
 * with a one-letter key takes 3; more is a request of empty messages, made to exhaust memory.
 */
const BLOW_UP = 8
const FREE = 1 << 20
/** Scratch beyond this is given back after the request that needed it. */
const KEEP = 1 << 20

/** Tags: field number << 3 | wire type. */
const LEN1 = 0x0a
const LEN2 = 0x12
const LEN3 = 0x1a
const LEN4 = 0x22
const LEN5 = 0x2a
const LEN6 = 0x32
const LEN7 = 0x3a
const LEN9 = 0x4a
const LEN11 = 0x5a
const LEN13 = 0x6a
const LEN15 = 0x7a
const INT2 = 0x10
const INT3 = 0x18
const INT6 = 0x30
const F64_1 = 0x09
const F64_4 = 0x21
const F64_7 = 0x39
const F64_8 = 0x41

const INT4 = 0x20
const INT5 = 0x28
const INT8 = 0x40
const INT10 = 0x50
const INT12 = 0x60
const INT14 = 0x70
const F32_6 = 0x35
const F32_16 = 0x85

const NO_RECORDS = new Int32Array(0)
const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/**
 * The offset table of one ExportTraceServiceRequest (or several, concatenated: the same thing). One pass over every
 * byte that carries structure, nothing decoded. Throws WireError where the bytes are not a valid message: framing,
 * wire types of known fields, sizes of ids, nesting. Strings are not checked for UTF-8. Unknown fields are passed over.
 */
export function scan(bytes: Uint8Array, keys: KeyInterner): SpanTable {
  let scanner = scanners.get(keys)
  if (scanner === undefined) scanners.set(keys, (scanner = new Scanner(keys)))
  return scanner.run(bytes)
}

/**
 * Methods take a position and the end of their message, and return the next position or nothing; a varint's value is
 * left in `v`. Records go to scratch arrays that are reused, and are copied out once at the end: one request costs a
 * handful of allocations, whatever its size.
 */
class Scanner {
  b: Uint8Array = NO_BYTES
  view = NO_VIEW
  keys: KeyInterner
  v = 0
  budget = 0
  foreign = false
  spans = new Int32Array(SPAN.width * 64)
  attrs = new Int32Array(ATTR_AT.width * 1024)
  events = new Int32Array(EVENT.width * 64)
  links = new Int32Array(LINK.width * 64)
  scopes = new Int32Array(SCOPE.width * 16)
  resources = new Int32Array(RESOURCE.width * 16)
  /** Record counts. */
  nSpans = 0
  nAttrs = 0
  nEvents = 0
  nLinks = 0
  nScopes = 0
  nResources = 0
  /** The value that `anyValue` found last. */
  vType = 0
  vOff = 0
  vLen = 0

  constructor(keys: KeyInterner) {
    this.keys = keys
  }

  run(bytes: Uint8Array): SpanTable {
    this.b = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.budget = bytes.length * BLOW_UP + FREE
    this.foreign = false
    this.nSpans = this.nAttrs = this.nEvents = this.nLinks = this.nScopes = this.nResources = 0
    try {
      this.request(bytes.length)
      return this.table()
    } finally {
      this.release()
    }
  }

  table(): SpanTable {
    return {
      rows: this.nSpans,
      spans: this.spans.slice(0, this.nSpans * SPAN.width),
      attrs: copy(this.attrs, this.nAttrs * ATTR_AT.width),
      events: copy(this.events, this.nEvents * EVENT.width),
      links: copy(this.links, this.nLinks * LINK.width),
      scopes: copy(this.scopes, this.nScopes * SCOPE.width),
      resources: copy(this.resources, this.nResources * RESOURCE.width),
      hasForeignKeys: this.foreign,
    }
  }

  /** Forgets the request's bytes, and scratch that only a very large one needs. */
  release(): void {
    this.b = NO_BYTES
    this.view = NO_VIEW
    if (this.spans.length > KEEP) this.spans = new Int32Array(SPAN.width * 64)
    if (this.attrs.length > KEEP) this.attrs = new Int32Array(ATTR_AT.width * 1024)
    if (this.events.length > KEEP) this.events = new Int32Array(EVENT.width * 64)
    if (this.links.length > KEEP) this.links = new Int32Array(LINK.width * 64)
    if (this.scopes.length > KEEP) this.scopes = new Int32Array(SCOPE.width * 16)
    if (this.resources.length > KEEP) this.resources = new Int32Array(RESOURCE.width * 16)
  }

  /** ExportTraceServiceRequest: repeated ResourceSpans resource_spans = 1 */
  request(end: number): void {
    let p = 0
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v !== LEN1) {
        p = this.other(at, p, end, 1)
        continue
      }
      p = this.length(p, end)
      const next = p + this.v
      this.resourceSpans(p, next)
      p = next
    }
  }

  /**
   * ResourceSpans: Resource resource = 1 · repeated ScopeSpans scope_spans = 2 · string schema_url = 3
   * Two passes, since fields come in any order and a resource that comes in pieces is merged: its attributes
   * must lie together in the table.
   */
  resourceSpans(start: number, end: number): void {
    const index = this.nResources++
    const i = index * RESOURCE.width
    if (i + RESOURCE.width > this.resources.length) this.resources = this.grow(this.resources, start)
    const record = this.resources
    record[i + RESOURCE.off] = start
    record[i + RESOURCE.len] = end - start
    record[i + RESOURCE.schemaOff] = record[i + RESOURCE.schemaLen] = 0
    record[i + RESOURCE.firstAttr] = this.nAttrs
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      const tag = this.v
      if (tag !== LEN1 && tag !== LEN2 && tag !== LEN3) {
        p = this.other(at, p, end, 3)
        continue
      }
      p = this.length(p, end)
      const size = this.v
      if (tag === LEN1) this.resource(p, p + size)
      else if (tag === LEN3) {
        record[i + RESOURCE.schemaOff] = p
        record[i + RESOURCE.schemaLen] = size
      }
      p += size
    }
    record[i + RESOURCE.endAttr] = this.nAttrs
    record[i + RESOURCE.firstScope] = this.nScopes
    for (p = start; p < end;) {
      p = this.seek(LEN2, p, end)
      if (p < 0) break
      const next = p + this.v
      this.scopeSpans(p, next, index)
      p = next
    }
    record[i + RESOURCE.endScope] = this.nScopes
  }

  /** Resource: repeated KeyValue attributes = 1 · uint32 dropped_attributes_count = 2 · repeated EntityRef entity_refs = 3 */
  resource(start: number, end: number): void {
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === LEN1) p = this.attribute(p, end, 0)
      else if (this.v === INT2 || this.v === LEN3) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 3)
    }
  }

  /** ScopeSpans: InstrumentationScope scope = 1 · repeated Span spans = 2 · string schema_url = 3. Two passes, as above. */
  scopeSpans(start: number, end: number, resource: number): void {
    const index = this.nScopes++
    const i = index * SCOPE.width
    if (i + SCOPE.width > this.scopes.length) this.scopes = this.grow(this.scopes, start)
    const record = this.scopes
    record.fill(0, i, i + SCOPE.width)
    record[i + SCOPE.off] = start
    record[i + SCOPE.len] = end - start
    record[i + SCOPE.resource] = resource
    record[i + SCOPE.firstAttr] = this.nAttrs
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      const tag = this.v
      if (tag !== LEN1 && tag !== LEN2 && tag !== LEN3) {
        p = this.other(at, p, end, 3)
        continue
      }
      p = this.length(p, end)
      const size = this.v
      if (tag === LEN1) this.scope(p, p + size, i)
      else if (tag === LEN3) {
        record[i + SCOPE.schemaOff] = p
        record[i + SCOPE.schemaLen] = size
      }
      p += size
    }
    record[i + SCOPE.endAttr] = this.nAttrs
    record[i + SCOPE.firstRow] = this.nSpans
    for (p = start; p < end;) {
      p = this.seek(LEN2, p, end)
      if (p < 0) break
      const next = p + this.v
      this.span(p, next, index)
      p = next
    }
    record[i + SCOPE.endRow] = this.nSpans
  }

  /**
   * InstrumentationScope: string name = 1 · string version = 2 · repeated KeyValue attributes = 3
   *   · uint32 dropped_attributes_count = 4
   */
  scope(start: number, end: number, i: number): void {
    const record = this.scopes
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === LEN3) p = this.attribute(p, end, 0)
      else if (this.v === INT4) p = this.skip(at, p, end)
      else if (this.v === LEN1 || this.v === LEN2) {
        const field = this.v === LEN1 ? SCOPE.nameOff : SCOPE.versionOff
        p = this.length(p, end)
        record[i + field] = p
        record[i + field + 1] = this.v
        p += this.v
      } else p = this.other(at, p, end, 4)
    }
  }

  /**
   * Span: bytes trace_id = 1 · bytes span_id = 2 · string trace_state = 3 · bytes parent_span_id = 4 · string name = 5
   *   · SpanKind kind = 6 · fixed64 start_time_unix_nano = 7 · fixed64 end_time_unix_nano = 8
   *   · repeated KeyValue attributes = 9 · uint32 dropped_attributes_count = 10 · repeated Event events = 11
   *   · uint32 dropped_events_count = 12 · repeated Link links = 13 · uint32 dropped_links_count = 14
   *   · Status status = 15 · fixed32 flags = 16
   */
  span(start: number, end: number, scope: number): void {
    const i = this.nSpans++ * SPAN.width
    if (i + SPAN.width > this.spans.length) this.spans = this.grow(this.spans, start)
    const record = this.spans
    // The attribute that stood at the same place in the span before: most likely the same key.
    let guess = i > 0 ? record[i - SPAN.width + SPAN.firstAttr]! * ATTR_AT.width : 0
    this.blankSpan(record, i, start, end, scope)
    const firstEvent = this.nEvents
    const firstLink = this.nLinks
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      switch (this.v) {
        case LEN9:
          p = this.attribute(p, end, this.attrs[guess]!)
          guess += ATTR_AT.width
          break
        case LEN1:
          p = this.id(p, end, record, i + SPAN.traceId, 16)
          break
        case LEN2:
          p = this.id(p, end, record, i + SPAN.spanId, 8)
          break
        case LEN4:
          p = this.id(p, end, record, i + SPAN.parentId, 8)
          break
        case LEN3:
          p = this.text(p, end, record, i + SPAN.stateOff)
          break
        case LEN5:
          p = this.text(p, end, record, i + SPAN.nameOff)
          break
        case INT6:
          p = this.enumValue(p, end, record, i + SPAN.kind)
          break
        case F64_7:
          p = this.fixed64(p, end, record, i + SPAN.start)
          break
        case F64_8:
          p = this.fixed64(p, end, record, i + SPAN.end)
          break
        case LEN11:
          p = this.event(p, end)
          break
        case LEN13:
          p = this.link(p, end)
          break
        case LEN15:
          p = this.length(p, end)
          this.status(p, p + this.v, record, i)
          p = this.v
          break
        case INT10:
        case INT12:
        case INT14:
        case F32_16:
          p = this.skip(at, p, end)
          break
        default:
          p = this.other(at, p, end, 16)
      }
    }
    record[i + SPAN.endAttr] = this.nAttrs
    record[i + SPAN.firstEvent] = firstEvent
    record[i + SPAN.endEvent] = this.nEvents
    record[i + SPAN.firstLink] = firstLink
    record[i + SPAN.endLink] = this.nLinks
    // After the span's own attributes, so that those lie together.
    for (let e = firstEvent; e < this.nEvents; e++) this.eventBody(e * EVENT.width)
    for (let l = firstLink; l < this.nLinks; l++) this.linkBody(l * LINK.width)
  }

  blankSpan(record: Int32Array, i: number, start: number, end: number, scope: number): void {
    record[i + SPAN.off] = start
    record[i + SPAN.len] = end - start
    record[i + SPAN.scope] = scope
    record[i + SPAN.traceId] = -1
    record[i + SPAN.spanId] = -1
    record[i + SPAN.parentId] = -1
    record[i + SPAN.nameOff] = 0
    record[i + SPAN.nameLen] = 0
    record[i + SPAN.start] = -1
    record[i + SPAN.end] = -1
    record[i + SPAN.kind] = 0
    record[i + SPAN.status] = 0
    record[i + SPAN.messageOff] = 0
    record[i + SPAN.messageLen] = 0
    record[i + SPAN.stateOff] = 0
    record[i + SPAN.stateLen] = 0
    record[i + SPAN.firstAttr] = this.nAttrs
  }

  /** Status: string message = 2 · StatusCode code = 3. Leaves its end in `v`. */
  status(start: number, end: number, record: Int32Array, i: number): void {
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === INT3) p = this.enumValue(p, end, record, i + SPAN.status)
      else if (this.v === LEN2) p = this.text(p, end, record, i + SPAN.messageOff)
      else if (this.v >> 3 === 1) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 3)
    }
    this.v = end
  }

  /** Notes an Event and passes over it. */
  event(pos: number, end: number): number {
    const p = this.length(pos, end)
    const i = this.nEvents++ * EVENT.width
    if (i + EVENT.width > this.events.length) this.events = this.grow(this.events, pos)
    const record = this.events
    record.fill(0, i, i + EVENT.width)
    record[i + EVENT.off] = p
    record[i + EVENT.len] = this.v
    record[i + EVENT.time] = -1
    return p + this.v
  }

  /** Event: fixed64 time_unix_nano = 1 · string name = 2 · repeated KeyValue attributes = 3 · uint32 dropped_attributes_count = 4 */
  eventBody(i: number): void {
    const record = this.events
    record[i + EVENT.firstAttr] = this.nAttrs
    let p = record[i + EVENT.off]!
    const end = p + record[i + EVENT.len]!
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === F64_1) p = this.fixed64(p, end, record, i + EVENT.time)
      else if (this.v === LEN2) p = this.text(p, end, record, i + EVENT.nameOff)
      else if (this.v === LEN3) p = this.attribute(p, end, 0)
      else if (this.v === INT4) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 4)
    }
    record[i + EVENT.endAttr] = this.nAttrs
  }

  /** Notes a Link and passes over it. */
  link(pos: number, end: number): number {
    const p = this.length(pos, end)
    const i = this.nLinks++ * LINK.width
    if (i + LINK.width > this.links.length) this.links = this.grow(this.links, pos)
    const record = this.links
    record.fill(0, i, i + LINK.width)
    record[i + LINK.off] = p
    record[i + LINK.len] = this.v
    record[i + LINK.traceId] = -1
    record[i + LINK.spanId] = -1
    return p + this.v
  }

  /**
   * Link: bytes trace_id = 1 · bytes span_id = 2 · string trace_state = 3 · repeated KeyValue attributes = 4
   *   · uint32 dropped_attributes_count = 5 · fixed32 flags = 6
   */
  linkBody(i: number): void {
    const record = this.links
    record[i + LINK.firstAttr] = this.nAttrs
    let p = record[i + LINK.off]!
    const end = p + record[i + LINK.len]!
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === LEN1) p = this.id(p, end, record, i + LINK.traceId, 16)
      else if (this.v === LEN2) p = this.id(p, end, record, i + LINK.spanId, 8)
      else if (this.v === LEN3) p = this.text(p, end, record, i + LINK.stateOff)
      else if (this.v === LEN4) p = this.attribute(p, end, 0)
      else if (this.v === INT5 || this.v === F32_6) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 6)
    }
    record[i + LINK.endAttr] = this.nAttrs
  }

  /** A KeyValue of some place becomes a record; `guess` is the key it probably has. */
  attribute(pos: number, end: number, guess: number): number {
    const p = this.length(pos, end)
    const next = p + this.v
    const i = this.nAttrs++ * ATTR_AT.width
    if (i + ATTR_AT.width > this.attrs.length) this.attrs = this.grow(this.attrs, pos)
    const record = this.attrs
    record[i + ATTR_AT.key] = this.keyValue(p, next, 0, guess)
    record[i + ATTR_AT.type] = this.vType
    record[i + ATTR_AT.off] = this.vOff
    record[i + ATTR_AT.len] = this.vLen
    return next
  }

  /** KeyValue: string key = 1 · AnyValue value = 2 · int32 key_strindex = 3. Returns the key as `ATTR_AT.key` has it. */
  keyValue(start: number, end: number, depth: number, guess: number): number {
    this.vType = this.vOff = this.vLen = 0
    let mark = -1
    let key = 0
    let size = 0
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === LEN1) {
        mark = p
        p = this.length(p, end)
        key = p
        size = this.v
        p += size
      } else if (this.v === LEN2) {
        p = this.length(p, end)
        const next = p + this.v
        this.anyValue(p, next, depth)
        p = next
      } else if (this.v === INT3) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 3)
    }
    if (depth > 0) return 0
    if (this.keys.is(guess, this.view, key, size)) return guess
    const id = this.keys.find(this.view, key, size)
    if (id > 0) return id
    this.foreign = true
    return -1 - mark
  }

  /**
   * AnyValue: oneof { string_value = 1 · bool_value = 2 · int_value = 3 · double_value = 4 · array_value = 5
   *   · kvlist_value = 6 · bytes_value = 7 · string_value_strindex = 8 (profiles only) }. The last member wins.
   */
  anyValue(start: number, end: number, depth: number): void {
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      const tag = this.v
      if (tag === LEN1 || tag === LEN7) p = this.length(p, end)
      else if (tag === INT2 || tag === INT3) {
        const value = p
        p = this.varint(p, end)
        this.vLen = p - value
        this.vOff = value
        this.vType = tag >> 3
        continue
      } else if (tag === F64_4) {
        this.v = 8
        if (end - p < 8) throw new WireError(p, 'the message ends inside an 8-byte value')
      } else if (tag === LEN5 || tag === LEN6) {
        p = this.length(p, end)
        const size = this.v
        this.nested(p, p + size, depth + 1, tag)
        this.v = size
      } else {
        p = tag === INT8 ? this.skip(at, p, end) : this.other(at, p, end, 8)
        continue
      }
      this.vType = tag >> 3
      this.vOff = p
      this.vLen = this.v
      p += this.v
    }
  }

  /** ArrayValue: repeated AnyValue values = 1. KeyValueList: repeated KeyValue values = 1. Checked, not recorded. */
  nested(start: number, end: number, depth: number, tag: number): void {
    if (depth >= MAX_DEPTH) throw new WireError(start, `values nest deeper than ${MAX_DEPTH}`)
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v !== LEN1) {
        p = this.other(at, p, end, 1)
        continue
      }
      p = this.length(p, end)
      const next = p + this.v
      if (tag === LEN5) this.anyValue(p, next, depth)
      else this.keyValue(p, next, depth, 0)
      p = next
    }
  }

  /** The content of the next field `wanted`, its length in `v`; -1 at the end. Over fields that were checked before. */
  seek(wanted: number, pos: number, end: number): number {
    let p = pos
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === wanted) return this.length(p, end)
      p = this.skip(at, p, end)
    }
    return -1
  }

  /** An id of exactly `size` bytes, or of none. */
  id(pos: number, end: number, record: Int32Array, at: number, size: number): number {
    const p = this.length(pos, end)
    if (this.v === size) record[at] = p
    else if (this.v === 0) record[at] = -1
    else throw new WireError(pos, `an id is ${this.v} bytes long, not ${size}`)
    return p + this.v
  }

  text(pos: number, end: number, record: Int32Array, at: number): number {
    const p = this.length(pos, end)
    record[at] = p
    record[at + 1] = this.v
    return p + this.v
  }

  fixed64(pos: number, end: number, record: Int32Array, at: number): number {
    if (end - pos < 8) throw new WireError(pos, 'the message ends inside an 8-byte value')
    record[at] = pos
    return pos + 8
  }

  enumValue(pos: number, end: number, record: Int32Array, at: number): number {
    const p = this.varint(pos, end)
    record[at] = p - pos === 1 ? this.v : Number(BigInt.asIntN(32, int64At(this.b, pos)))
    return p
  }

  tag(pos: number, end: number): number {
    const first = this.b[pos]!
    if (first < 128) {
      this.v = first
      if (first < 8) throw new WireError(pos, 'a field number is 0')
      return pos + 1
    }
    const p = this.longVarint(pos, end)
    if (this.v > 0xffffffff) throw new WireError(pos, 'a field number is too large')
    if (this.v < 8) throw new WireError(pos, 'a field number is 0')
    return p
  }

  /** A length that fits into the message, in `v`. */
  length(pos: number, end: number): number {
    let p = pos
    if (p < end && this.b[p]! < 128) this.v = this.b[p++]!
    else p = this.longVarint(pos, end)
    if (this.v > end - p) throw new WireError(pos, `a length of ${this.v} runs past the end of its message`)
    return p
  }

  varint(pos: number, end: number): number {
    if (pos < end && this.b[pos]! < 128) {
      this.v = this.b[pos]!
      return pos + 1
    }
    return this.longVarint(pos, end)
  }

  /** Exact up to 2^53, which is enough for tags and lengths. */
  longVarint(pos: number, end: number): number {
    const b = this.b
    let value = 0
    let scale = 1
    for (let p = pos; p < end; p++) {
      const byte = b[p]!
      value += (byte & 127) * scale
      if (byte < 128) {
        this.v = value
        return p + 1
      }
      if (p - pos === 9) throw new WireError(pos, 'a varint is longer than 10 bytes')
      scale *= 128
    }
    throw new WireError(pos, 'the message ends inside a varint')
  }

  /** Passes over a field that the table does not hold; refuses fields 1..known, which came with the wrong wire type. */
  other(at: number, pos: number, end: number, known: number): number {
    const field = Math.floor(this.v / 8)
    if (field <= known)
      throw new WireError(at, `field ${field} has wire type ${this.v % 8}, which it never has`)
    return this.skip(at, pos, end)
  }

  /** Passes over the value of the field at `at` whose tag is in `v`. */
  skip(at: number, pos: number, end: number): number {
    const wire = this.v % 8
    if (wire === 0) return this.varint(pos, end)
    if (wire === 2) {
      const p = this.length(pos, end)
      return p + this.v
    }
    if (wire !== 1 && wire !== 5) throw new WireError(at, `wire type ${wire} is not one that OTLP uses`)
    const size = wire === 1 ? 8 : 4
    if (end - pos < size) throw new WireError(pos, `the message ends inside a ${size}-byte value`)
    return pos + size
  }

  grow(array: Int32Array, at: number): Int32Array {
    const larger = new Int32Array(array.length * 2)
    this.budget -= array.byteLength
    if (this.budget < 0 && larger.length > KEEP)
      throw new WireError(at, 'too many empty elements for its size')
    larger.set(array)
    return larger
  }
}

function copy(array: Int32Array, length: number): Int32Array {
  return length === 0 ? NO_RECORDS : array.slice(0, length)
}

/** Scratch is per interner: the daemon has one. */
const scanners = new WeakMap<KeyInterner, Scanner>()
