/** Room that every run of bytes keeps behind its end, so that copies may go by 16 bytes. */
const SLACK: usize = 32
/** Above it the engine's own copy is faster than a loop (measured). */
const LONG: u32 = 512

/** A growing run of bytes in linear memory; kept and cleared between blocks. */
@unmanaged
export class Bytes {
  start: usize
  /** Where the next byte goes. */
  end: usize
  private limit: usize

  constructor() {
    this.start = heap.alloc(1024)
    this.end = this.start
    this.limit = this.start + 1024 - SLACK
  }

  get length(): u32 {
    return <u32>(this.end - this.start)
  }

  clear(): void {
    this.end = this.start
  }

  /** Makes room and returns where to write; the caller moves `end`. */
  @inline
  reserve(extra: usize): usize {
    if (extra > this.limit - this.end) this.grow(extra)
    return this.end
  }

  private grow(extra: usize): void {
    const used = this.end - this.start
    const size = max(used * 2, used + extra) + SLACK
    this.start = heap.realloc(this.start, size)
    this.end = this.start + used
    this.limit = this.start + size - SLACK
  }

  @inline
  byte(value: u8): void {
    store<u8>(this.reserve(1), value)
    this.end += 1
  }

  @inline
  u32(value: u32): void {
    store<u32>(this.reserve(4), value)
    this.end += 4
  }

  @inline
  u64(value: u64): void {
    store<u64>(this.reserve(8), value)
    this.end += 8
  }

  /** Makes room for so many u32 and nothing else. */
  u32s(count: u32): usize {
    this.clear()
    this.end = this.reserve((<usize>count) << 2) + ((<usize>count) << 2)
    return this.start
  }

  /** A string as ClickHouse writes it: LEB128 length, bytes. */
  string(source: usize, size: u32): void {
    let at = this.reserve(size + 5)
    let rest = size
    while (rest >= 0x80) {
      store<u8>(at++, <u8>(rest | 0x80))
      rest >>= 7
    }
    store<u8>(at++, <u8>rest)
    copy(at, source, size)
    this.end = at + size
  }

  /** Two digits per byte of `source`, as a string; nothing but its length where the source is absent (below 0). */
  hex(base: usize, offset: i32, size: u32): void {
    if (offset < 0) {
      this.byte(0)
      return
    }
    let at = this.reserve(size * 2 + 1)
    store<u8>(at++, <u8>(size * 2))
    const source = base + offset
    for (let i: u32 = 0; i < size; i++) {
      store<u16>(at, load<u16>(HEX + ((<usize>load<u8>(source + i)) << 1)))
      at += 2
    }
    this.end = at
  }

  /** The decimal text of an integer, as a string. */
  decimal(value: i64): void {
    const at = this.reserve(24)
    let rest = value < 0 ? 0 - <u64>value : <u64>value
    let from = at + 22
    while (rest >= 10) {
      const tenth = rest / 10
      store<u8>(--from, <u8>(48 + (rest - tenth * 10)))
      rest = tenth
    }
    store<u8>(--from, <u8>(48 + rest))
    if (value < 0) store<u8>(--from, 45)
    const size = at + 22 - from
    store<u8>(at, <u8>size)
    memory.copy(at + 1, from, size)
    this.end = at + 1 + size
  }
}

@inline
export function u32At(start: usize, index: u32): u32 {
  return load<u32>(start + ((<usize>index) << 2))
}

@inline
export function setU32(start: usize, index: u32, value: u32): void {
  store<u32>(start + ((<usize>index) << 2), value)
}

/** Copies by 16 bytes: may write up to 15 more, which the target's slack takes. The ranges may touch, not overlap. */
export function copy(target: usize, source: usize, size: u32): void {
  if (size > LONG) {
    memory.copy(target, source, size)
    return
  }
  for (let i: u32 = 0; i < size; i += 16) v128.store(target + i, v128.load(source + i))
}

const HEX: usize = hexTable()

function hexTable(): usize {
  const table = heap.alloc(512)
  for (let i = 0; i < 256; i++) store<u16>(table + (i << 1), <u16>(digit(i >> 4) | (digit(i & 15) << 8)))
  return table
}

function digit(value: i32): i32 {
  return value < 10 ? 48 + value : 87 + value
}

/** The same bytes stand at both addresses. */
@inline
export function same(one: usize, two: usize, size: u32): bool {
  let i: u32 = 0
  for (; i + 8 <= size; i += 8) if (load<u64>(one + i) !== load<u64>(two + i)) return false
  for (; i < size; i++) if (load<u8>(one + i) !== load<u8>(two + i)) return false
  return true
}

/** Room that holds zeros, for good. */
export function zeros(size: usize): usize {
  const start = heap.alloc(size)
  memory.fill(start, 0, size)
  return start
}
