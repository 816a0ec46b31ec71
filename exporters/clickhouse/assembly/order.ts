import { Bytes, setU32, u32At } from '../../../proto/assembly/bytes'
import { Ranks } from './ranks'

/** Bits of a time that one pass sorts by. */
const DIGIT: u32 = 11
const BUCKETS: u32 = 1 << DIGIT
const SIGN: u64 = 1 << 63

/** Row as it is sent → row as it came; u32. */
export let order = new Bytes()
/** What a pass makes of it. */
let next = new Bytes()
/** Of each row as it came, what a pass sorts by. */
const digits = new Bytes()
const buckets = new Bytes()

/**
 * Makes `order` that of the table's key (ServiceName, SpanName, toDateTime(Timestamp), Timestamp), as ClickHouse compares:
 * texts by their bytes, times as int64. Where its toDateTime wraps around, before 1970 and after 2106, it sorts
 * once more itself.
 * True where the rows came in that order.
 */
export function sort(services: Ranks, names: Ranks, times: Bytes): bool {
  const rows = times.length >> 3
  services.find()
  names.find()
  const start = order.u32s(rows)
  for (let row: u32 = 0; row < rows; row++) setU32(start, row, row)
  if (isSorted(services, names, times, rows)) return true
  // From the least part of the key to the first: each pass leaves equal rows as they stand.
  sortByTime(times, rows)
  sortByRank(names, rows)
  sortByRank(services, rows)
  return false
}

function isSorted(services: Ranks, names: Ranks, times: Bytes, rows: u32): bool {
  for (let row: u32 = 1; row < rows; row++) {
    const service = <i32>(services.of(row) - services.of(row - 1))
    const name = <i32>(names.of(row) - names.of(row - 1))
    const isLater = timeOf(times, row) >= timeOf(times, row - 1)
    if (service < 0 || (service === 0 && (name < 0 || (name === 0 && !isLater)))) return false
  }
  return true
}

@inline
function timeOf(times: Bytes, row: u32): i64 {
  return load<i64>(times.start + ((<usize>row) << 3))
}

function sortByTime(times: Bytes, rows: u32): void {
  let differing: u64 = 0
  for (let row: u32 = 1; row < rows; row++) differing |= timeOf(times, row) ^ timeOf(times, 0)
  for (let shift: u64 = 0; shift < 64; shift += DIGIT) {
    if (((differing >> shift) & (BUCKETS - 1)) === 0) continue
    const digit = digits.u32s(rows)
    for (let row: u32 = 0; row < rows; row++) {
      setU32(digit, row, <u32>(((timeOf(times, row) ^ SIGN) >> shift) & (BUCKETS - 1)))
    }
    pass(rows, BUCKETS)
  }
}

function sortByRank(ranks: Ranks, rows: u32): void {
  if (ranks.texts.distinct === 1) return
  const digit = digits.u32s(rows)
  for (let row: u32 = 0; row < rows; row++) setU32(digit, row, ranks.of(row))
  pass(rows, ranks.texts.distinct)
}

/** Puts the rows in the order of their digits, each below `count`. */
function pass(rows: u32, count: u32): void {
  const digit = digits.start
  const places = placesOf(digit, rows, count)
  const from = order.start
  const to = next.u32s(rows)
  for (let i: u32 = 0; i < rows; i++) {
    const row = u32At(from, i)
    const place = u32At(places, u32At(digit, row))
    setU32(to, place, row)
    setU32(places, u32At(digit, row), place + 1)
  }
  const sorted = next
  next = order
  order = sorted
}

/** Where the rows of each digit begin. */
function placesOf(digit: usize, rows: u32, count: u32): usize {
  const places = buckets.u32s(count)
  memory.fill(places, 0, (<usize>count) << 2)
  for (let row: u32 = 0; row < rows; row++) {
    const at = u32At(digit, row)
    setU32(places, at, u32At(places, at) + 1)
  }
  let place: u32 = 0
  for (let at: u32 = 0; at < count; at++) {
    const size = u32At(places, at)
    setU32(places, at, place)
    place += size
  }
  return places
}
