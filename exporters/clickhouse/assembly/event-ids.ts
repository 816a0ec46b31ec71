import { Bytes } from '../../../proto/assembly/bytes'
import { blocksOf, pad, sha256 } from './sha256'

/** Trace id, span id and start, behind the tenant's name and a zero byte. */
const SPAN_BYTES: u32 = 32

/** What spans are known by: the rule stands in pipeline/batch/event-id.ts. */
@unmanaged
export class EventIds {
  private message: Bytes
  private at: usize
  private blocks: u32

  constructor() {
    this.message = new Bytes()
    this.at = 0
    this.blocks = 0
  }

  tenant(name: usize, size: u32): void {
    const whole = size + 1 + SPAN_BYTES
    this.blocks = blocksOf(whole)
    this.message.clear()
    const start = this.message.reserve(this.blocks << 6)
    memory.fill(start, 0, this.blocks << 6)
    memory.copy(start, name, size)
    pad(start, whole)
    this.at = start + size + 1
  }

  /** An offset below 0 means absent: zeros. */
  @inline
  add(out: Bytes, bytes: usize, traceId: i32, spanId: i32, startNs: u64): void {
    const at = this.at
    if (traceId < 0) memory.fill(at, 0, 16)
    else v128.store(at, v128.load(bytes + traceId))
    store<u64>(at, spanId < 0 ? 0 : load<u64>(bytes + spanId), 16)
    store<u64>(at, startNs, 24)
    sha256(this.message.start, this.blocks, out.reserve(16))
    out.end += 16
  }
}
