import { Bytes } from '../../../proto/assembly/bytes'

/*
 * The records of proto/otlp/table.ts, whose fields these are: byte offsets into a record, and its width. What they point at is
 * in `bytes`; -1 means absent.
 */
export const SPAN_WIDTH: usize = 88
export const SPAN_SCOPE: usize = 8
export const SPAN_TRACE_ID: usize = 12
export const SPAN_SPAN_ID: usize = 16
export const SPAN_PARENT_ID: usize = 20
export const SPAN_NAME_OFF: usize = 24
export const SPAN_NAME_LEN: usize = 28
export const SPAN_START: usize = 32
export const SPAN_END: usize = 36
export const SPAN_KIND: usize = 40
export const SPAN_STATUS: usize = 44
export const SPAN_MESSAGE_OFF: usize = 48
export const SPAN_MESSAGE_LEN: usize = 52
export const SPAN_STATE_OFF: usize = 56
export const SPAN_STATE_LEN: usize = 60
export const SPAN_FIRST_ATTR: usize = 64
export const SPAN_END_ATTR: usize = 68
export const SPAN_FIRST_EVENT: usize = 72
export const SPAN_END_EVENT: usize = 76
export const SPAN_FIRST_LINK: usize = 80
export const SPAN_END_LINK: usize = 84

export const ATTR_WIDTH: usize = 16
export const ATTR_KEY: usize = 0
export const ATTR_TYPE: usize = 4
export const ATTR_OFF: usize = 8
export const ATTR_LEN: usize = 12

export const EVENT_WIDTH: usize = 28
export const EVENT_TIME: usize = 8
export const EVENT_NAME_OFF: usize = 12
export const EVENT_NAME_LEN: usize = 16
export const EVENT_FIRST_ATTR: usize = 20
export const EVENT_END_ATTR: usize = 24

export const LINK_WIDTH: usize = 32
export const LINK_TRACE_ID: usize = 8
export const LINK_SPAN_ID: usize = 12
export const LINK_STATE_OFF: usize = 16
export const LINK_STATE_LEN: usize = 20
export const LINK_FIRST_ATTR: usize = 24
export const LINK_END_ATTR: usize = 28

export const SCOPE_WIDTH: usize = 52
export const SCOPE_RESOURCE: usize = 8
export const SCOPE_NAME_OFF: usize = 12
export const SCOPE_NAME_LEN: usize = 16
export const SCOPE_VERSION_OFF: usize = 20
export const SCOPE_VERSION_LEN: usize = 24

export const RESOURCE_WIDTH: usize = 32
export const RESOURCE_FIRST_ATTR: usize = 16
export const RESOURCE_END_ATTR: usize = 20

/** A request as the host put it here: its bytes and the tables over them. */
@unmanaged
export class Request {
  private input: Bytes
  /** What the host leaves when it is asked. */
  scratch: Bytes
  bytes: usize
  spans: usize
  scopes: usize
  resources: usize
  attrs: usize
  events: usize
  links: usize

  constructor() {
    this.input = new Bytes()
    this.scratch = new Bytes()
  }

  /** Makes room for bytes and tables (sizes in bytes), one after another from the address returned, each at a multiple of 8. */
  open(bytes: u32, spans: u32, scopes: u32, resources: u32, attrs: u32, events: u32, links: u32): usize {
    this.input.clear()
    const total = aligned(bytes) + aligned(spans) + aligned(scopes) + aligned(resources)
    this.bytes = aligned(this.input.reserve(total + aligned(attrs) + aligned(events) + aligned(links) + 8))
    this.spans = this.bytes + aligned(bytes)
    this.scopes = this.spans + aligned(spans)
    this.resources = this.scopes + aligned(scopes)
    this.attrs = this.resources + aligned(resources)
    this.events = this.attrs + aligned(attrs)
    this.links = this.events + aligned(events)
    return this.bytes
  }
}

function aligned(size: usize): usize {
  return (size + 7) & ~7
}

/** A protobuf varint, 1 to 10 bytes, as int64. */
export function varint(at: usize): i64 {
  let value: u64 = 0
  let byte: u8 = 0
  let shift: u64 = 0
  do {
    byte = load<u8>(at++)
    value |= (<u64>(byte & 127)) << shift
    shift += 7
  } while (byte >= 128)
  return <i64>value
}
