import { Bytes } from '../../assembly/bytes'
import { attribute, attrs, foreign, keyAt, openAttributes } from './attributes'
import {
  base,
  CUT_VALUE,
  fail,
  ID_SIZE,
  length,
  markUnlisted,
  openFields,
  other,
  seek,
  skip,
  tag,
  TOO_LARGE,
  unlisted,
  v,
  varint,
} from './fields'
import { LARGEST, openRecords, Records } from './records'
import { openSignatures, sign, signatures, values } from './signatures'
import {
  EVENT_END_ATTR,
  EVENT_FIRST_ATTR,
  EVENT_NAME_OFF,
  EVENT_TIME,
  EVENT_WIDTH,
  LEN,
  LINK_END_ATTR,
  LINK_FIRST_ATTR,
  LINK_SPAN_ID,
  LINK_STATE_OFF,
  LINK_TRACE_ID,
  LINK_WIDTH,
  OFF,
  RESOURCE_END_ATTR,
  RESOURCE_FIRST_ATTR,
  RESOURCE_FIRST_SCOPE,
  RESOURCE_SCHEMA_OFF,
  RESOURCE_WIDTH,
  SCOPE_FIRST_ATTR,
  SCOPE_FIRST_ROW,
  SCOPE_NAME_OFF,
  SCOPE_RESOURCE,
  SCOPE_SCHEMA_OFF,
  SCOPE_VERSION_OFF,
  SCOPE_WIDTH,
  SPAN_END,
  SPAN_END_ATTR,
  SPAN_END_EVENT,
  SPAN_END_LINK,
  SPAN_FIRST_ATTR,
  SPAN_FIRST_EVENT,
  SPAN_FIRST_LINK,
  SPAN_KIND,
  SPAN_MESSAGE_OFF,
  SPAN_NAME_OFF,
  SPAN_PARENT_ID,
  SPAN_SCOPE,
  SPAN_SPAN_ID,
  SPAN_START,
  SPAN_STATE_OFF,
  SPAN_STATUS,
  SPAN_TRACE_ID,
  SPAN_WIDTH,
} from './table'

export { errorCode, errorOne, errorPlace, errorTwo } from './fields'
export { openMarks } from './signatures'

/* Tags: field number << 3 | wire type. */
const LEN1: u32 = 0x0a
const LEN2: u32 = 0x12
const LEN3: u32 = 0x1a
const LEN4: u32 = 0x22
const LEN5: u32 = 0x2a
const LEN9: u32 = 0x4a
const LEN11: u32 = 0x5a
const LEN13: u32 = 0x6a
const LEN15: u32 = 0x7a
const INT2: u32 = 0x10
const INT3: u32 = 0x18
const INT4: u32 = 0x20
const INT5: u32 = 0x28
const INT6: u32 = 0x30
const INT10: u32 = 0x50
const INT12: u32 = 0x60
const INT14: u32 = 0x70
const F64_1: u32 = 0x09
const F64_7: u32 = 0x39
const F64_8: u32 = 0x41
const F32_6: u32 = 0x35
const F32_16: u32 = 0x85

const input = new Bytes()
const spans = new Records(SPAN_WIDTH)
const events = new Records(EVENT_WIDTH)
const links = new Records(LINK_WIDTH)
const scopes = new Records(SCOPE_WIDTH)
const resources = new Records(RESOURCE_WIDTH)

const TABLES: StaticArray<Records> = [
  spans,
  attrs,
  events,
  links,
  scopes,
  resources,
  signatures,
  values,
]

/** Room for a request of so many bytes; traps beyond a GiB (TOO_LARGE). */
export function open(size: u32): usize {
  input.clear()
  openFields(input.start)
  if (<usize>size > LARGEST) fail(TOO_LARGE, input.start)
  return input.reserve(size)
}

/** Fills the tables from the request that `open` made room for. Traps where it is no valid message: `errorCode` tells why. */
export function scan(size: u32): void {
  for (let i = 0; i < TABLES.length; i++) TABLES[i].clear()
  openRecords(size)
  openAttributes()
  openSignatures()
  openFields(input.start)
  request(base, base + size)
}

/** Of the table: spans 0, attributes 1, events 2, links 3, scopes 4, resources 5, signatures 6, marked values 7. */
export function start(table: i32): usize {
  return TABLES[table].start
}

/** In bytes. */
export function size(table: i32): u32 {
  return TABLES[table].length
}

export function hasForeign(): bool {
  return foreign
}

export function hasUnlisted(): bool {
  return unlisted
}

/** ExportTraceServiceRequest: repeated ResourceSpans resource_spans = 1 */
function request(begin: usize, end: usize): void {
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v !== LEN1) {
      p = other(at, p, end, 1)
      continue
    }
    p = length(p, end)
    const next = p + v
    resourceSpans(p, next)
    p = next
  }
}

/**
 * ResourceSpans: Resource resource = 1 · repeated ScopeSpans scope_spans = 2 · string schema_url = 3
 * Two passes, since fields come in any order and a resource that comes in pieces is merged: its attributes
 * must lie together in the table.
 */
function resourceSpans(begin: usize, end: usize): void {
  const index = resources.count
  const record = resources.add(begin)
  memory.fill(record, 0, RESOURCE_WIDTH)
  note(record, OFF, begin, <u32>(end - begin))
  store<i32>(record, attrs.count, RESOURCE_FIRST_ATTR)
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    const mark = v
    if (mark !== LEN1 && mark !== LEN2 && mark !== LEN3) {
      p = other(at, p, end, 3)
      continue
    }
    p = length(p, end)
    const next = p + v
    if (mark === LEN1) resource(p, next)
    else if (mark === LEN3) replace(record, RESOURCE_SCHEMA_OFF, p, v)
    p = next
  }
  store<i32>(record, attrs.count, RESOURCE_END_ATTR)
  store<i32>(record, scopes.count, RESOURCE_FIRST_SCOPE)
  for (p = seek(LEN2, begin, end); p !== 0; p = seek(LEN2, p, end)) {
    const next = p + v
    scopeSpans(p, next, index)
    p = next
  }
  store<i32>(record, scopes.count, RESOURCE_FIRST_SCOPE + 4)
}

/** Resource: repeated KeyValue attributes = 1 · uint32 dropped_attributes_count = 2 · repeated EntityRef entity_refs = 3 */
function resource(begin: usize, end: usize): void {
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === LEN1) p = attribute(p, end, 0)
    else if (v === INT2) p = skip(at, p, end)
    else if (v === LEN3) {
      p = length(p, end)
      const next = p + v
      entityRef(p, next)
      p = next
    } else p = other(at, p, end, 3)
  }
}

/** EntityRef: string schema_url = 1 · string type = 2 · repeated string id_keys = 3, description_keys = 4. Only checked. */
function entityRef(begin: usize, end: usize): void {
  markUnlisted()
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    const isKnown = v === LEN1 || v === LEN2 || v === LEN3 || v === LEN4
    p = isKnown ? skip(at, p, end) : other(at, p, end, 4)
  }
}

/** ScopeSpans: InstrumentationScope scope = 1 · repeated Span spans = 2 · string schema_url = 3. Two passes, as above. */
function scopeSpans(begin: usize, end: usize, resource: i32): void {
  const index = scopes.count
  const record = scopes.add(begin)
  memory.fill(record, 0, SCOPE_WIDTH)
  note(record, OFF, begin, <u32>(end - begin))
  store<i32>(record, resource, SCOPE_RESOURCE)
  store<i32>(record, attrs.count, SCOPE_FIRST_ATTR)
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    const mark = v
    if (mark !== LEN1 && mark !== LEN2 && mark !== LEN3) {
      p = other(at, p, end, 3)
      continue
    }
    p = length(p, end)
    const next = p + v
    if (mark === LEN1) scope(p, next, record)
    else if (mark === LEN3) replace(record, SCOPE_SCHEMA_OFF, p, v)
    p = next
  }
  store<i32>(record, attrs.count, SCOPE_FIRST_ATTR + 4)
  store<i32>(record, spans.count, SCOPE_FIRST_ROW)
  for (p = seek(LEN2, begin, end); p !== 0; p = seek(LEN2, p, end)) {
    const next = p + v
    span(p, next, index)
    p = next
  }
  store<i32>(record, spans.count, SCOPE_FIRST_ROW + 4)
}

/**
 * InstrumentationScope: string name = 1 · string version = 2 · repeated KeyValue attributes = 3
 *   · uint32 dropped_attributes_count = 4
 */
function scope(begin: usize, end: usize, record: usize): void {
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === LEN3) p = attribute(p, end, 0)
    else if (v === INT4) p = skip(at, p, end)
    else if (v === LEN1) p = text(p, end, record, SCOPE_NAME_OFF)
    else if (v === LEN2) p = text(p, end, record, SCOPE_VERSION_OFF)
    else p = other(at, p, end, 4)
  }
}

/**
 * Span: bytes trace_id = 1 · bytes span_id = 2 · string trace_state = 3 · bytes parent_span_id = 4 · string name = 5
 *   · SpanKind kind = 6 · fixed64 start_time_unix_nano = 7 · fixed64 end_time_unix_nano = 8
 *   · repeated KeyValue attributes = 9 · uint32 dropped_attributes_count = 10 · repeated Event events = 11
 *   · uint32 dropped_events_count = 12 · repeated Link links = 13 · uint32 dropped_links_count = 14
 *   · Status status = 15 · fixed32 flags = 16
 */
function span(begin: usize, end: usize, scope: i32): void {
  const isFirst = spans.length === 0
  const record = spans.add(begin)
  // The attribute that stood at the same place in the span before: most likely the same key.
  let guess = isFirst ? 0 : load<i32>(record - SPAN_WIDTH, SPAN_FIRST_ATTR)
  blankSpan(record, begin, <u32>(end - begin), scope)
  const firstEvent = events.count
  const firstLink = links.count
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    switch (v) {
      case LEN9:
        p = attribute(p, end, guess < attrs.count ? keyAt(guess) : 0)
        guess++
        break
      case LEN1:
        p = id(p, end, record, SPAN_TRACE_ID, 16)
        break
      case LEN2:
        p = id(p, end, record, SPAN_SPAN_ID, 8)
        break
      case LEN4:
        p = id(p, end, record, SPAN_PARENT_ID, 8)
        break
      case LEN5:
        p = text(p, end, record, SPAN_NAME_OFF)
        break
      case INT6:
        p = enumValue(p, end, record, SPAN_KIND)
        break
      case F64_7:
        p = fixed64(p, end, record, SPAN_START)
        break
      case F64_8:
        p = fixed64(p, end, record, SPAN_END)
        break
      default:
        p = rarerField(at, p, end, record)
    }
  }
  store<i32>(record, attrs.count, SPAN_END_ATTR)
  sign(load<i32>(record, SPAN_FIRST_ATTR), attrs.count, begin)
  store<i32>(record, firstEvent, SPAN_FIRST_EVENT)
  store<i32>(record, events.count, SPAN_END_EVENT)
  store<i32>(record, firstLink, SPAN_FIRST_LINK)
  store<i32>(record, links.count, SPAN_END_LINK)
  // After the span's own attributes, so that those lie together.
  const eventsEnd = events.count
  for (let i = firstEvent; i < eventsEnd; i++) eventBody(events.start + <usize>i * EVENT_WIDTH)
  const linksEnd = links.count
  for (let i = firstLink; i < linksEnd; i++) linkBody(links.start + <usize>i * LINK_WIDTH)
}

/** The fields of a Span that most spans have once or not at all; the tag is in `v`. */
function rarerField(at: usize, pos: usize, end: usize, record: usize): usize {
  switch (v) {
    case LEN3:
      return text(pos, end, record, SPAN_STATE_OFF)
    case LEN11:
      return element(pos, end, events, EVENT_WIDTH)
    case LEN13:
      return element(pos, end, links, LINK_WIDTH)
    case LEN15: {
      const p = length(pos, end)
      const next = p + v
      status(p, next, record)
      return next
    }
    case INT10:
    case INT12:
    case INT14:
    case F32_16:
      return skip(at, pos, end)
    default:
      return other(at, pos, end, 16)
  }
}

@inline
function blankSpan(record: usize, begin: usize, size: u32, scope: i32): void {
  memory.fill(record, 0, SPAN_WIDTH)
  note(record, OFF, begin, size)
  store<i32>(record, scope, SPAN_SCOPE)
  store<i32>(record, -1, SPAN_TRACE_ID)
  store<i32>(record, -1, SPAN_SPAN_ID)
  store<i32>(record, -1, SPAN_PARENT_ID)
  store<i32>(record, -1, SPAN_START)
  store<i32>(record, -1, SPAN_END)
  store<i32>(record, attrs.count, SPAN_FIRST_ATTR)
}

/** Status: string message = 2 · StatusCode code = 3 (1 is reserved) */
function status(begin: usize, end: usize, record: usize): void {
  let p = begin
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === INT3) p = enumValue(p, end, record, SPAN_STATUS)
    else if (v === LEN2) p = text(p, end, record, SPAN_MESSAGE_OFF)
    else if (v >> 3 === 1) {
      markUnlisted()
      p = skip(at, p, end)
    } else p = other(at, p, end, 3)
  }
}

/** Notes an Event or a Link and passes over it. */
function element(pos: usize, end: usize, into: Records, width: usize): usize {
  const p = length(pos, end)
  const record = into.add(pos)
  memory.fill(record, 0, width)
  note(record, OFF, p, v)
  return p + v
}

/** Event: fixed64 time_unix_nano = 1 · string name = 2 · repeated KeyValue attributes = 3 · uint32 dropped_attributes_count = 4 */
function eventBody(record: usize): void {
  store<i32>(record, attrs.count, EVENT_FIRST_ATTR)
  store<i32>(record, -1, EVENT_TIME)
  let p = base + load<u32>(record, OFF)
  const end = p + load<u32>(record, LEN)
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === F64_1) p = fixed64(p, end, record, EVENT_TIME)
    else if (v === LEN2) p = text(p, end, record, EVENT_NAME_OFF)
    else if (v === LEN3) p = attribute(p, end, 0)
    else if (v === INT4) p = skip(at, p, end)
    else p = other(at, p, end, 4)
  }
  store<i32>(record, attrs.count, EVENT_END_ATTR)
}

/**
 * Link: bytes trace_id = 1 · bytes span_id = 2 · string trace_state = 3 · repeated KeyValue attributes = 4
 *   · uint32 dropped_attributes_count = 5 · fixed32 flags = 6
 */
function linkBody(record: usize): void {
  store<i32>(record, attrs.count, LINK_FIRST_ATTR)
  store<i32>(record, -1, LINK_TRACE_ID)
  store<i32>(record, -1, LINK_SPAN_ID)
  let p = base + load<u32>(record, OFF)
  const end = p + load<u32>(record, LEN)
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === LEN1) p = id(p, end, record, LINK_TRACE_ID, 16)
    else if (v === LEN2) p = id(p, end, record, LINK_SPAN_ID, 8)
    else if (v === LEN3) p = text(p, end, record, LINK_STATE_OFF)
    else if (v === LEN4) p = attribute(p, end, 0)
    else if (v === INT5 || v === F32_6) p = skip(at, p, end)
    else p = other(at, p, end, 6)
  }
  store<i32>(record, attrs.count, LINK_END_ATTR)
}

/** An id of exactly `size` bytes, or of none. */
@inline
function id(pos: usize, end: usize, record: usize, field: usize, size: u32): usize {
  const p = length(pos, end)
  if (v === size) store<u32>(record + field, <u32>(p - base))
  else if (v === 0) store<i32>(record + field, -1)
  else fail(ID_SIZE, pos, v, size)
  return p + v
}

@inline
function text(pos: usize, end: usize, record: usize, field: usize): usize {
  const p = length(pos, end)
  replace(record, field, p, v)
  return p + v
}

@inline
function fixed64(pos: usize, end: usize, record: usize, field: usize): usize {
  if (end - pos < 8) fail(CUT_VALUE, pos, 8)
  store<u32>(record + field, <u32>(pos - base))
  return pos + 8
}

function enumValue(pos: usize, end: usize, record: usize, field: usize): usize {
  const p = varint(pos, end)
  store<u32>(record + field, v)
  return p
}

/** An offset and a length. */
@inline
function note(record: usize, field: usize, pos: usize, size: u32): void {
  store<u32>(record + field, <u32>(pos - base))
  store<u32>(record + field, size, 4)
}

/** The same over an earlier text, which is then in no record. */
@inline
function replace(record: usize, field: usize, pos: usize, size: u32): void {
  if (load<u32>(record + field, 4) !== 0) markUnlisted()
  note(record, field, pos, size)
}
