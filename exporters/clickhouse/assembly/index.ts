import * as column from './columns'
import { clearColumns, longBytes } from './columns'
import { EventIds } from './event-ids'
import { count } from './host'
import * as field from '../../../proto/otlp/assembly/table'
import { addOwners, clearOwners, forgetOwners, ownersBytes, setServiceKey } from './owners'
import { Request } from './request'
import { seedWith } from './dictionary'

export { finish, length, start } from './columns'
export { gatherForeign, openForeign } from './foreign'

const DAY_MS: f64 = 86_400_000
/** Of the block per row, besides what a sender can make long. */
const ROW_BYTES: u64 = 256

const request = new Request()
const ids = new EventIds()

/* Of the block so far. */
let rows: u32 = 0
let full: bool = false
let eventCount: u64 = 0
let linkCount: u64 = 0
let first: f64 = Infinity
let last: f64 = 0

/* Keys that mean something here. */
let redactionsKey: i32 = 0
let violationsKey: i32 = 0

let aheadMs: f64 = 0

/** Once, before all else. */
export function setup(seed: u32, serviceName: i32, redactions: i32, violations: i32): void {
  seedWith(seed)
  setServiceKey(serviceName)
  redactionsKey = redactions
  violationsKey = violations
}

export function clear(): void {
  clearColumns()
  clearOwners()
  full = false
  kindsKnown.fill(0)
  statusesKnown.fill(0)
  rows = 0
  eventCount = 0
  linkCount = 0
  first = Infinity
  last = 0
}

/** Room for a text of the host's. */
export function scratch(size: u32): usize {
  const bytes = request.scratch
  bytes.clear()
  return bytes.reserve(size)
}

/** Announces a request: where its bytes and tables go (sizes in bytes). `limitMs`: a span that starts later has a clock ahead of ours. */
export function open(
  bytes: u32,
  spans: u32,
  scopes: u32,
  resources: u32,
  attrs: u32,
  events: u32,
  links: u32,
  limitMs: f64,
): usize {
  forgetOwners()
  aheadMs = limitMs
  return request.open(bytes, spans, scopes, resources, attrs, events, links)
}

/** Of the requests that follow: its name lies in the scratch area. */
export function tenant(size: u32): void {
  ids.tenant(request.scratch.start, size)
}

/** Adds the spans in [from, end) until the block has so many rows or bytes; returns where it stopped. */
export function add(from: i32, end: i32, maxRows: u32, maxBytes: u32): i32 {
  for (let row = from; row < end; row++) {
    addSpan(request.spans + <usize>row * field.SPAN_WIDTH)
    rows++
    full = rows >= maxRows || longBytes() + ownersBytes() + rows * ROW_BYTES >= maxBytes
    if (full) return row + 1
  }
  return end
}

/** The last `add` stopped for its limits. */
export function isFull(): bool {
  return full
}

/** Of the rows as they came, 16 bytes each. */
export function eventIds(): usize {
  return column.eventIds.start
}

export function rowCount(): u32 {
  return rows
}

/** Of the spans in the block, by start; Unix ms. */
export function firstMs(): f64 {
  return first
}

export function lastMs(): f64 {
  return last
}

function addSpan(span: usize): void {
  const bytes = request.bytes
  const from = timeAt(load<i32>(span, field.SPAN_START))
  const to = timeAt(load<i32>(span, field.SPAN_END))
  column.timestamps.u64(from)
  column.durations.u64(to > from ? to - from : 0)
  const traceId = load<i32>(span, field.SPAN_TRACE_ID)
  const spanId = load<i32>(span, field.SPAN_SPAN_ID)
  column.traceIds.hex(bytes, traceId, 16)
  column.spanIds.hex(bytes, spanId, 8)
  column.parentIds.hex(bytes, load<i32>(span, field.SPAN_PARENT_ID), 8)
  ids.add(column.eventIds, bytes, traceId, spanId, from)
  const state = bytes + load<i32>(span, field.SPAN_STATE_OFF)
  column.states.string(state, load<u32>(span, field.SPAN_STATE_LEN))
  const name = bytes + load<i32>(span, field.SPAN_NAME_OFF)
  column.names.add(name, load<u32>(span, field.SPAN_NAME_LEN))
  column.kinds.addIndex(kindIndex(load<i32>(span, field.SPAN_KIND)))
  column.statuses.addIndex(statusIndex(load<i32>(span, field.SPAN_STATUS)))
  const message = bytes + load<i32>(span, field.SPAN_MESSAGE_OFF)
  column.messages.string(message, load<u32>(span, field.SPAN_MESSAGE_LEN))
  addOwners(request, load<i32>(span, field.SPAN_SCOPE))
  addAttributes(span, from)
  addEvents(load<i32>(span, field.SPAN_FIRST_EVENT), load<i32>(span, field.SPAN_END_EVENT))
  addLinks(load<i32>(span, field.SPAN_FIRST_LINK), load<i32>(span, field.SPAN_END_LINK))
}

/** Unix ns; 0 where absent. */
function timeAt(offset: i32): u64 {
  return offset < 0 ? 0 : load<u64>(request.bytes + offset)
}

/** As the collector's exporter writes them, by the value of the enum. */
const KINDS: StaticArray<string> = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES: StaticArray<string> = ['Unset', 'Ok', 'Error']

/* Index + 1 of each in its dictionary, once it has one. */
const kindsKnown = new StaticArray<u32>(6)
const statusesKnown = new StaticArray<u32>(3)

function kindIndex(value: i32): u32 {
  const kind = <u32>value < 6 ? value : 0
  if (kindsKnown[kind] === 0) kindsKnown[kind] = column.kinds.name(KINDS[kind]) + 1
  return kindsKnown[kind] - 1
}

function statusIndex(value: i32): u32 {
  const status = <u32>value < 3 ? value : 0
  if (statusesKnown[status] === 0) statusesKnown[status] = column.statuses.name(STATUSES[status]) + 1
  return statusesKnown[status] - 1
}

function addAttributes(span: usize, startNs: u64): void {
  const begin = load<i32>(span, field.SPAN_FIRST_ATTR)
  const end = load<i32>(span, field.SPAN_END_ATTR)
  let redacted: u32 = 0
  let violated: u32 = 0
  for (let ref = begin; ref < end; ref++) {
    column.attributes.add(request, ref)
    const key = load<i32>(request.attrs + <usize>ref * field.ATTR_WIDTH, field.ATTR_KEY)
    if (key === redactionsKey) redacted = count(ref)
    else if (key === violationsKey) violated = count(ref)
  }
  const ms = <f64>startNs / 1e6
  if (ms < first) first = ms
  if (ms > last) last = ms
  const ahead = ms - aheadMs
  if (ahead > 0) {
    column.attributes.keys.addIndex(column.attributes.keys.name('weir.clock_ahead_seconds'))
    column.attributes.values.decimal(<i64>floor((ahead + DAY_MS) / 1000 + 0.5))
  }
  column.attributes.endRow(end - begin + (ahead > 0 ? 1 : 0))
  column.redactions.u32(redacted)
  column.violations.u32(violated)
}

function addEvents(begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const event = request.events + <usize>i * field.EVENT_WIDTH
    column.eventTimes.u64(timeAt(load<i32>(event, field.EVENT_TIME)))
    const name = request.bytes + load<i32>(event, field.EVENT_NAME_OFF)
    column.eventNames.add(name, load<u32>(event, field.EVENT_NAME_LEN))
    column.events.row(
      request,
      load<i32>(event, field.EVENT_FIRST_ATTR),
      load<i32>(event, field.EVENT_END_ATTR),
    )
  }
  eventCount += end - begin
  column.eventRows.u64(eventCount)
}

function addLinks(begin: i32, end: i32): void {
  for (let i = begin; i < end; i++) {
    const link = request.links + <usize>i * field.LINK_WIDTH
    column.linkTraces.hex(request.bytes, load<i32>(link, field.LINK_TRACE_ID), 16)
    column.linkSpans.hex(request.bytes, load<i32>(link, field.LINK_SPAN_ID), 8)
    const state = request.bytes + load<i32>(link, field.LINK_STATE_OFF)
    column.linkStates.string(state, load<u32>(link, field.LINK_STATE_LEN))
    column.links.row(request, load<i32>(link, field.LINK_FIRST_ATTR), load<i32>(link, field.LINK_END_ATTR))
  }
  linkCount += end - begin
  column.linkRows.u64(linkCount)
}
