import { fail, TOO_MANY } from './fields'

/**
 * The tables may take this many bytes for each byte of the request, plus FREE. A span with its ids takes 3, an attribute
 * with a one-letter key takes 3; more is a request of empty messages, made to exhaust memory.
 */
const BLOW_UP: i64 = 8
const FREE: i64 = 1 << 20
/** Tables up to this many bytes are never too large. */
const KEEP: usize = 4 << 20
/** What the allocator gives in one piece, nearly. */
export const LARGEST: usize = 1000 << 20

/** Bytes that tables may still grow by for this request. */
let budget: i64 = 0

export function openRecords(requestBytes: u32): void {
  budget = <i64>requestBytes * BLOW_UP + FREE
}

/** Records of one width, one after another (layout: proto/otlp/table.ts). */
@unmanaged
export class Records {
  start: usize
  end: usize
  count: i32
  private limit: usize
  private width: usize

  constructor(width: usize) {
    this.width = width
    this.start = heap.alloc(width * 64)
    this.end = this.start
    this.count = 0
    this.limit = this.start + width * 64
  }

  get length(): u32 {
    return <u32>(this.end - this.start)
  }

  clear(): void {
    this.end = this.start
    this.count = 0
  }

  /** The address of a new record, whose content is whatever; `at`: what it is for. */
  @inline
  add(at: usize): usize {
    if (this.end === this.limit) this.grow(at)
    const record = this.end
    this.end = record + this.width
    this.count++
    return record
  }

  /** Where so many records go, one after another; the caller moves `end` and `count`. */
  @inline
  room(count: usize, at: usize): usize {
    while (this.limit - this.end < count * this.width) this.grow(at)
    return this.end
  }

  private grow(at: usize): void {
    const used = this.end - this.start
    const size = this.limit - this.start
    budget -= <i64>size
    if ((budget < 0 && size * 2 > KEEP) || size * 2 > LARGEST) fail(TOO_MANY, at)
    this.start = heap.realloc(this.start, size * 2)
    this.end = this.start + used
    this.limit = this.start + size * 2
  }
}
