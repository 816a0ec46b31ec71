import { Bytes, copy, u32At } from '../../../proto/assembly/bytes'

/** Filled as rows come in; the body is what is sent, put together by an order: place in the body → place as it came (u32). */
@unmanaged
export class Column extends Bytes {
  body: Bytes

  constructor() {
    super()
    this.body = new Bytes()
  }
}

/** Values of one width. */
export function gather<T>(column: Column, order: Bytes): void {
  const from = column.start
  const places = order.start
  const count = order.length >> 2
  const to = emptied(column.body, <usize>count * sizeof<T>())
  for (let i: u32 = 0; i < count; i++) {
    store<T>(to + <usize>i * sizeof<T>(), load<T>(from + <usize>u32At(places, i) * sizeof<T>()))
  }
  column.body.end = to + <usize>count * sizeof<T>()
}

/** Runs of bytes that end where `ends` says (u32). */
export function gatherRuns(column: Column, ends: Bytes, order: Bytes): void {
  const from = column.start
  const places = order.start
  const count = order.length >> 2
  let size: usize = 0
  for (let i: u32 = 0; i < count; i++) size += sizeOf(ends, u32At(places, i))
  let at = emptied(column.body, size)
  for (let i: u32 = 0; i < count; i++) {
    const run = u32At(places, i)
    const length = sizeOf(ends, run)
    copy(at, from + u32At(ends.start, run) - length, length)
    at += length
  }
  column.body.end = at
}

@inline
function sizeOf(ends: Bytes, run: u32): u32 {
  return u32At(ends.start, run) - (run === 0 ? 0 : u32At(ends.start, run - 1))
}

const stringEnds = new Bytes()

/** Strings as ClickHouse writes them. */
export function gatherStrings(column: Column, order: Bytes): void {
  stringEnds.clear()
  for (let at = column.start; at < column.end; ) {
    let byte: u32 = load<u8>(at++)
    let size = byte & 0x7f
    for (let shift: u32 = 7; byte >= 0x80; shift += 7) {
      byte = load<u8>(at++)
      size |= (byte & 0x7f) << shift
    }
    at += size
    stringEnds.u32(<u32>(at - column.start))
  }
  gatherRuns(column, stringEnds, order)
}

/** The ends of arrays, counted in elements (u64). */
export function gatherEnds(ends: Column, order: Bytes): void {
  const count = order.length >> 2
  emptied(ends.body, (<usize>count) << 3)
  let end: u64 = 0
  for (let i: u32 = 0; i < count; i++) {
    const row = u32At(order.start, i)
    end += endOf(ends, row) - startOf(ends, row)
    ends.body.u64(end)
  }
}

/** The order of the elements of arrays, which go with their row. */
export function orderElements(elements: Bytes, ends: Column, order: Bytes): void {
  const count = order.length >> 2
  elements.clear()
  for (let i: u32 = 0; i < count; i++) {
    const row = u32At(order.start, i)
    const end = <u32>endOf(ends, row)
    for (let element = <u32>startOf(ends, row); element < end; element++) elements.u32(element)
  }
}

/** Where the elements of a row as it came end. */
@inline
export function endOf(ends: Column, row: u32): u64 {
  return load<u64>(ends.start + ((<usize>row) << 3))
}

@inline
export function startOf(ends: Column, row: u32): u64 {
  return row === 0 ? 0 : endOf(ends, row - 1)
}

function emptied(body: Bytes, size: usize): usize {
  body.clear()
  return body.reserve(size)
}
