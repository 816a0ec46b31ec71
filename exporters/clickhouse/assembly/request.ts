import { Bytes } from '../../../proto/assembly/bytes'

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
