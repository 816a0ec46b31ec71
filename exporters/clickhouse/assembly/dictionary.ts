import { Bytes, copy, same, u32At } from '../../../proto/assembly/bytes'
import { Column, endOf, startOf } from './gather'

const FEW_SLOTS: u32 = 256
/** Of an entry: where its text lies in `keys`, its size, its hash. */
const ENTRY: usize = 12
/** Index flags: this block brings its own keys, and they replace what came before. */
const ADDITIONAL_KEYS: u64 = 0x200 | 0x400

/** Different in each process, so that nobody outside can choose names that collide. */
let seed: u32 = 0

export function seedWith(value: u32): void {
  seed = value
}

/** LowCardinality(String): each different value once, and an index per row (the body is told in proto/clickhouse/columns.ts). */
@unmanaged
export class Dictionary {
  private keys: Bytes
  private entries: Bytes
  /** An index per row, as they came (u32). */
  rows: Bytes
  /** What `finish` makes. */
  body: Bytes
  private table: usize
  private mask: u32
  /** How many values. */
  distinct: u32

  constructor() {
    this.keys = new Bytes()
    this.entries = new Bytes()
    this.rows = new Bytes()
    this.body = new Bytes()
    this.mask = FEW_SLOTS - 1
    this.table = heap.alloc(FEW_SLOTS * 4)
    this.distinct = 0
    memory.fill(this.table, 0, FEW_SLOTS * 4)
  }

  clear(): void {
    this.keys.clear()
    this.entries.clear()
    this.rows.clear()
    this.body.clear()
    this.distinct = 0
    // One block of high cardinality must not make every later clear expensive.
    if (this.mask >= 65_536) {
      heap.free(this.table)
      this.table = heap.alloc(FEW_SLOTS * 4)
      this.mask = FEW_SLOTS - 1
    }
    memory.fill(this.table, 0, (<usize>this.mask + 1) << 2)
  }

  @inline
  add(source: usize, size: u32): void {
    this.addIndex(this.index(source, size))
  }

  @inline
  addIndex(index: u32): void {
    this.rows.u32(index)
  }

  index(source: usize, size: u32): u32 {
    const h = hash(source, size)
    const mask = this.mask
    let slot = h & mask
    while (true) {
      const found = load<u32>(this.table + ((<usize>slot) << 2))
      if (found === 0) return this.insert(slot, h, source, size)
      const entry = this.entries.start + <usize>(found - 1) * ENTRY
      if (
        load<u32>(entry, 8) === h &&
        load<u32>(entry, 4) === size &&
        same(this.keys.start + load<u32>(entry), source, size)
      ) {
        return found - 1
      }
      slot = (slot + 1) & mask
    }
  }

  /** Of a name of ours, in ASCII. */
  name(text: string): u32 {
    const size = <u32>text.length
    const at = heap.alloc(size + 16)
    for (let i: u32 = 0; i < size; i++) store<u8>(at + i, <u8>text.charCodeAt(i))
    const index = this.index(at, size)
    heap.free(at)
    return index
  }

  private insert(slot: u32, h: u32, source: usize, size: u32): u32 {
    this.keys.string(source, size)
    this.entries.u32(this.keys.length - size)
    this.entries.u32(size)
    this.entries.u32(h)
    store<u32>(this.table + ((<usize>slot) << 2), ++this.distinct)
    if (this.distinct * 2 > this.mask) this.widen()
    return this.distinct - 1
  }

  /** Below 0 where the text of entry `one` comes before that of `two`, byte by byte. */
  compare(one: u32, two: u32): i32 {
    const a = this.entries.start + <usize>one * ENTRY
    const b = this.entries.start + <usize>two * ENTRY
    const keys = this.keys.start
    return compare(keys + load<u32>(a), load<u32>(a, 4), keys + load<u32>(b), load<u32>(b, 4))
  }

  private widen(): void {
    const mask = this.mask * 2 + 1
    // First: where there is no room it traps, and the table must be as it was.
    const table = heap.alloc((<usize>mask + 1) << 2)
    heap.free(this.table)
    this.table = table
    this.mask = mask
    memory.fill(table, 0, (<usize>mask + 1) << 2)
    for (let i: u32 = 0; i < this.distinct; i++) {
      let slot = load<u32>(this.entries.start + <usize>i * ENTRY, 8) & this.mask
      while (load<u32>(this.table + ((<usize>slot) << 2)) !== 0) slot = (slot + 1) & this.mask
      store<u32>(this.table + ((<usize>slot) << 2), i + 1)
    }
  }

  /** Nothing where there are no rows. `order`: place in the body → row as it came (u32). */
  finish(order: Bytes): void {
    const count = order.length >> 2
    const at = this.begin(count)
    if (count === 0) return
    const width = this.width
    if (width === 0) this.narrow<u8>(at, order.start, count)
    else if (width === 1) this.narrow<u16>(at, order.start, count)
    else this.narrow<u32>(at, order.start, count)
  }

  /** The same for elements of arrays, which go with their row: `ends` has its order already. */
  finishElements(ends: Column, order: Bytes): void {
    const rows = order.length >> 2
    const count = rows === 0 ? 0 : <u32>load<u64>(ends.body.end - 8)
    const at = this.begin(count)
    if (count === 0) return
    const width = this.width
    if (width === 0) this.narrowRuns<u8>(at, ends, order.start, rows)
    else if (width === 1) this.narrowRuns<u16>(at, ends, order.start, rows)
    else this.narrowRuns<u32>(at, ends, order.start, rows)
  }

  /** Of an index in the body: so many times its size is doubled. */
  private get width(): u32 {
    return this.distinct <= 0x100 ? 0 : this.distinct <= 0x1_0000 ? 1 : 2
  }

  /** All of the body but its indexes; where they go. */
  private begin(count: u32): usize {
    const body = this.body
    body.clear()
    if (count === 0) return 0
    const width = this.width
    body.u64(ADDITIONAL_KEYS | width)
    body.u64(this.distinct)
    const keys = this.keys
    memory.copy(body.reserve(keys.length), keys.start, keys.length)
    body.end += keys.length
    body.u64(count)
    const at = body.reserve((<usize>count) << width)
    body.end = at + ((<usize>count) << width)
    return at
  }

  private narrow<T>(to: usize, places: usize, count: u32): void {
    const rows = this.rows.start
    for (let i: u32 = 0; i < count; i++) {
      store<T>(to + <usize>i * sizeof<T>(), <T>u32At(rows, u32At(places, i)))
    }
  }

  /** Rows side by side that have the same elements (those of a resource) are narrowed once. */
  private narrowRuns<T>(to: usize, ends: Column, places: usize, count: u32): void {
    const elements = this.rows.start
    let at = to
    let before = to
    for (let i: u32 = 0; i < count; i++) {
      const row = u32At(places, i)
      const start = at
      if (i > 0 && row === u32At(places, i - 1)) {
        const size = <u32>(at - before)
        copy(at, before, size)
        at += size
      } else {
        const end = elements + (<usize>endOf(ends, row) << 2)
        for (let from = elements + (<usize>startOf(ends, row) << 2); from < end; from += 4) {
          store<T>(at, <T>load<u32>(from))
          at += sizeof<T>()
        }
      }
      before = start
    }
  }
}

function compare(one: usize, oneSize: u32, two: usize, twoSize: u32): i32 {
  const size = min(oneSize, twoSize)
  let i: u32 = 0
  while (i + 8 <= size && load<u64>(one + i) === load<u64>(two + i)) i += 8
  for (; i < size; i++) {
    const difference = <i32>load<u8>(one + i) - <i32>load<u8>(two + i)
    if (difference !== 0) return difference
  }
  return oneSize < twoSize ? -1 : <i32>(oneSize > twoSize)
}

/** Over every byte, eight at a time; mixed as in MurmurHash3's 64-bit finalizer. */
function hash(source: usize, size: u32): u32 {
  let h: u64 = ((<u64>seed) << 32) | size
  let i: u32 = 0
  for (; i + 8 <= size; i += 8) h = mixed(h ^ load<u64>(source + i))
  let rest: u64 = 0
  for (; i < size; i++) rest = (rest << 8) | load<u8>(source + i)
  h = mixed(h ^ rest)
  return <u32>(h >> 32) ^ <u32>h
}

function mixed(value: u64): u64 {
  let h = value
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53
  return h ^ (h >> 33)
}
