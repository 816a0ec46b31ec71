import {
  base,
  CUT_VALUE,
  fail,
  length,
  markUnlisted,
  other,
  skip,
  tag,
  TOO_DEEP,
  v,
  varint,
} from './fields'
import { idOf, isKey } from './keys'
import { Records } from './records'
import { ATTR_LEN, ATTR_OFF, ATTR_TYPE, ATTR_WIDTH } from './table'

/** As in table.ts. */
const MAX_DEPTH = 64

/* Tags: field number << 3 | wire type. */
const LEN1: u32 = 0x0a
const LEN2: u32 = 0x12
const LEN5: u32 = 0x2a
const LEN6: u32 = 0x32
const LEN7: u32 = 0x3a
const INT2: u32 = 0x10
const INT3: u32 = 0x18
const INT8: u32 = 0x40
const F64_4: u32 = 0x21

export const attrs = new Records(ATTR_WIDTH)

/** Some key was not interned. */
export let foreign: bool = false

/* The value that `anyValue` found last. */
let valueType: u32 = 0
let valueOff: usize = 0
let valueLen: u32 = 0

export function openAttributes(): void {
  attrs.clear()
  foreign = false
}

/** The key of the attribute `place`, counted from the first. */
export function keyAt(place: i32): i32 {
  return load<i32>(attrs.start + <usize>place * ATTR_WIDTH)
}

/** A KeyValue of some place becomes a record; `guess` is the key it probably has. */
export function attribute(pos: usize, end: usize, guess: i32): usize {
  const record = attrs.add(pos)
  const quick = plainAttribute(pos, end, guess, record)
  if (quick !== 0) return quick
  const p = length(pos, end)
  const next = p + v
  store<i32>(record, keyValue(p, next, 0, guess))
  store<u32>(record, valueType, ATTR_TYPE)
  store<u32>(record, valueType === 0 ? 0 : <u32>(valueOff - base), ATTR_OFF)
  store<u32>(record, valueLen, ATTR_LEN)
  return next
}

/**
 * The one layout that encoders write: `len 0a klen key 12 vlen tag value`, a string, an int or a double, filling its
 * message exactly. 0 for anything else, which the general way then reads or refuses.
 */
@inline
function plainAttribute(pos: usize, end: usize, guess: i32, record: usize): usize {
  if (end - pos < 8) return 0
  let p = pos
  let size = <u32>load<u8>(p++)
  if (size > 127) {
    if (load<u8>(p) > 127) return 0
    size = (size & 127) | (<u32>load<u8>(p++) << 7)
  }
  const next = p + size
  if (next > end || size < 6 || load<u8>(p) !== LEN1) return 0
  const keySize = <u32>load<u8>(p, 1)
  const key = p + 2
  p = key + keySize
  if (keySize > 127 || p + 4 > next || load<u8>(p) !== LEN2) return 0
  let valueSize = <u32>load<u8>(p, 1)
  p += 2
  if (valueSize > 127) {
    if (load<u8>(p) > 127) return 0
    valueSize = (valueSize & 127) | (<u32>load<u8>(p++) << 7)
  }
  if (p + valueSize !== next || valueSize < 2) return 0
  const mark = <u32>load<u8>(p++)
  if (mark === LEN1) {
    let text = <u32>load<u8>(p++)
    if (text > 127) {
      if (p >= next || load<u8>(p) > 127) return 0
      text = (text & 127) | (<u32>load<u8>(p++) << 7)
    }
    if (p + text !== next) return 0
  } else if (mark === INT3) {
    if (next - p > 10) return 0
    for (let q = p; q < next - 1; q++) if (load<u8>(q) < 128) return 0
    if (load<u8>(next - 1) > 127) return 0
  } else if (mark !== F64_4 || next - p !== 8) return 0
  store<i32>(record, isKey(guess, key, keySize) ? guess : keyOf(key - 1, key, keySize))
  store<u32>(record, mark >> 3, ATTR_TYPE)
  store<u32>(record, <u32>(p - base), ATTR_OFF)
  store<u32>(record, <u32>(next - p), ATTR_LEN)
  return next
}

/** KeyValue: string key = 1 · AnyValue value = 2 · int32 key_strindex = 3. Returns the key as `ATTR_AT.key` has it. */
function keyValue(start: usize, end: usize, depth: i32, guess: i32): i32 {
  valueType = 0
  valueLen = 0
  let mark: usize = 0
  let key: usize = base
  let size: u32 = 0
  let p = start
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === LEN1) {
      mark = p
      p = length(p, end)
      key = p
      size = v
      p += size
    } else if (v === LEN2) {
      p = length(p, end)
      const next = p + v
      if (valueType !== 0 && depth === 0) markUnlisted()
      anyValue(p, next, depth)
      p = next
    } else if (v === INT3) p = skip(at, p, end)
    else p = other(at, p, end, 3)
  }
  if (depth > 0) return 0
  return isKey(guess, key, size) ? guess : keyOf(mark, key, size)
}

/** `ATTR_AT.key` of the key at `key`, whose length varint is at `mark`. */
function keyOf(mark: usize, key: usize, size: u32): i32 {
  const id = idOf(key, size)
  if (id > 0) return id
  foreign = true
  return -1 - <i32>(mark - base)
}

/**
 * AnyValue: oneof { string_value = 1 · bool_value = 2 · int_value = 3 · double_value = 4 · array_value = 5
 *   · kvlist_value = 6 · bytes_value = 7 · string_value_strindex = 8 (profiles only) }.
 * The last member wins, a list over an earlier list too (as the collector's pdata has it; elsewhere they are merged).
 */
function anyValue(start: usize, end: usize, depth: i32): void {
  let p = start
  let members = 0
  while (p < end) {
    const at = p
    p = tag(p, end)
    const mark = v
    let size: u32 = 8
    if (mark === INT2 || mark === INT3) {
      const value = p
      p = varint(p, end)
      size = <u32>(p - value)
      p = value
    } else if (mark === F64_4) {
      if (end - p < 8) fail(CUT_VALUE, p, 8)
    } else if (mark === LEN1 || mark === LEN7) {
      p = length(p, end)
      size = v
    } else if (mark === LEN5 || mark === LEN6) {
      p = length(p, end)
      size = v
      nested(p, p + size, depth + 1, mark)
    } else {
      p = mark === INT8 ? skip(at, p, end) : other(at, p, end, 8)
      continue
    }
    if (members++ > 0 && depth === 0) markUnlisted()
    valueType = mark >> 3
    valueOff = p
    valueLen = size
    p += size
  }
}

/** ArrayValue: repeated AnyValue values = 1. KeyValueList: repeated KeyValue values = 1. Checked, not recorded. */
function nested(start: usize, end: usize, depth: i32, list: u32): void {
  if (depth >= MAX_DEPTH) fail(TOO_DEEP, start)
  let p = start
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v !== LEN1) {
      p = other(at, p, end, 1)
      continue
    }
    p = length(p, end)
    const next = p + v
    if (list === LEN5) anyValue(p, next, depth)
    else keyValue(p, next, depth, 0)
    p = next
  }
}
