import { AttributeReader, copyOf, KEEP } from './attribute-reader.ts'
import type { KeyInterner } from '../intern.ts'
import { int64At, WireError } from '../wire.ts'
import { ATTR_AT, EVENT, LINK, RESOURCE, SCOPE, SPAN, type SpanTable } from './table.ts'
import {
  F32_16,
  F32_6,
  F64_1,
  F64_7,
  F64_8,
  INT10,
  INT12,
  INT14,
  INT2,
  INT3,
  INT4,
  INT5,
  INT6,
  LEN1,
  LEN11,
  LEN13,
  LEN15,
  LEN2,
  LEN3,
  LEN4,
  LEN5,
  LEN9,
} from './tags.ts'

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
 * One method per message; its fields are above it. Records go to scratch arrays that are reused, and are copied out once
 * at the end: a request costs a handful of allocations, whatever its size.
 */
class Scanner extends AttributeReader {
  spans: Int32Array = new Int32Array(SPAN.width * 64)
  events: Int32Array = new Int32Array(EVENT.width * 64)
  links: Int32Array = new Int32Array(LINK.width * 64)
  scopes: Int32Array = new Int32Array(SCOPE.width * 16)
  resources: Int32Array = new Int32Array(RESOURCE.width * 16)
  /** Record counts. */
  nSpans = 0
  nEvents = 0
  nLinks = 0
  nScopes = 0
  nResources = 0

  run(bytes: Uint8Array): SpanTable {
    this.open(bytes)
    this.nSpans = this.nEvents = this.nLinks = this.nScopes = this.nResources = 0
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
      spans: copyOf(this.spans, this.nSpans * SPAN.width),
      attrs: copyOf(this.attrs, this.nAttrs * ATTR_AT.width),
      events: copyOf(this.events, this.nEvents * EVENT.width),
      links: copyOf(this.links, this.nLinks * LINK.width),
      scopes: copyOf(this.scopes, this.nScopes * SCOPE.width),
      resources: copyOf(this.resources, this.nResources * RESOURCE.width),
      hasForeignKeys: this.foreign,
      hasUnlisted: this.unlisted,
    }
  }

  /** Forgets the request's bytes, and scratch that only a very large one needs. */
  release(): void {
    this.close()
    if (this.spans.length > KEEP) this.spans = new Int32Array(SPAN.width * 64)
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
        if (record[i + RESOURCE.schemaLen] !== 0) this.unlisted = true
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
      else if (this.v === INT2) p = this.skip(at, p, end)
      else if (this.v === LEN3) {
        p = this.length(p, end)
        const next = p + this.v
        this.entityRef(p, next)
        p = next
      } else p = this.other(at, p, end, 3)
    }
  }

  /** EntityRef: string schema_url = 1 · string type = 2 · repeated string id_keys = 3, description_keys = 4. Only checked. */
  entityRef(start: number, end: number): void {
    this.unlisted = true
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      const isKnown = this.v === LEN1 || this.v === LEN2 || this.v === LEN3 || this.v === LEN4
      p = isKnown ? this.skip(at, p, end) : this.other(at, p, end, 4)
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
        if (record[i + SCOPE.schemaLen] !== 0) this.unlisted = true
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
        if (record[i + field + 1] !== 0) this.unlisted = true
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
        default:
          p = this.rarerField(at, p, end, i)
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

  /** The fields of a Span that most spans have once or not at all; the tag is in `v`. */
  rarerField(at: number, pos: number, end: number, i: number): number {
    switch (this.v) {
      case LEN3:
        return this.text(pos, end, this.spans, i + SPAN.stateOff)
      case LEN11:
        return this.event(pos, end)
      case LEN13:
        return this.link(pos, end)
      case LEN15: {
        const p = this.length(pos, end)
        const next = p + this.v
        this.status(p, next, i)
        return next
      }
      case INT10:
      case INT12:
      case INT14:
      case F32_16:
        return this.skip(at, pos, end)
      default:
        return this.other(at, pos, end, 16)
    }
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

  /** Status: string message = 2 · StatusCode code = 3 (1 is reserved) */
  status(start: number, end: number, i: number): void {
    const record = this.spans
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === INT3) p = this.enumValue(p, end, record, i + SPAN.status)
      else if (this.v === LEN2) p = this.text(p, end, record, i + SPAN.messageOff)
      else if (this.v >> 3 === 1) {
        this.unlisted = true
        p = this.skip(at, p, end)
      } else p = this.other(at, p, end, 3)
    }
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
    if (record[at + 1] !== 0) this.unlisted = true
    record[at] = p
    record[at + 1] = this.v
    return p + this.v
  }

  fixed64(pos: number, end: number, record: Int32Array, at: number): number {
    if (end - pos < 8) throw new WireError(pos, 'the message ends inside a value of 8 bytes')
    record[at] = pos
    return pos + 8
  }

  enumValue(pos: number, end: number, record: Int32Array, at: number): number {
    const p = this.varint(pos, end)
    record[at] = p - pos === 1 ? this.v : Number(BigInt.asIntN(32, int64At(this.b, pos)))
    return p
  }
}

/** Scratch is per interner: the daemon has one. */
const scanners = new WeakMap<KeyInterner, Scanner>()
