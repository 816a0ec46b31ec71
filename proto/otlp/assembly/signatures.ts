import { copy, zeros } from '../../assembly/bytes'
import { attrs } from './attributes'
import { base } from './fields'
import { signatureId } from './host'
import { Records } from './records'
import { ATTR_KEY, ATTR_LEN, ATTR_OFF, ATTR_TYPE, ATTR_WIDTH } from './table'

/*
 * What a span is told apart by: its marked attributes with their types, in their order, and the bytes of those that are
 * words. Spans that are alike in this get the same id, as long as it is remembered (../signatures.ts).
 */

/** Per span: the id (0: none), and which of the values is its first. */
export const signatures = new Records(8)
/** Per marked attribute that has a value: an int itself, of any other the attribute. */
export const values = new Records(4)

/* As in ../signatures.ts. */
const NUMBER: u32 = 1
const WORD: u32 = 2
const LONGEST_WORD: u32 = 64

/* AnyValue's members. */
const EMPTY: u32 = 0
const STRING: u32 = 1
const INT: u32 = 3
const DOUBLE: u32 = 4
const BYTES: u32 = 7

const MAX_NUMBER: u64 = 0xffff_ffff

/* By key: a mark, 0 where there is none. */
let marks: usize = 0
let markCount: u32 = 0

/* Two entries per hash, the newest stay: id, size, bytes. */
const ENTRIES: u32 = 2048
const ENTRY: usize = 512
const HEAD: usize = 8
const entries = zeros(<usize>ENTRIES * ENTRY)

/** The signature in the making. What is written by 16 bytes may go past its end. */
const draft = zeros(ENTRY * 2)
/** Nothing is added to a draft of this size: what is added last still fits. */
const FULL: usize = ENTRY - HEAD - LONGEST_WORD - 24

/** Room for the marks of so many keys, once; without any, no span is told apart. */
export function openMarks(count: u32): usize {
  marks = heap.alloc(<usize>count << 2)
  markCount = count
  return marks
}

export function openSignatures(): void {
  signatures.clear()
  values.clear()
}

/** Of a span whose attributes are [first, end); `at`: what it is for. */
export function sign(first: i32, end: i32, at: usize): void {
  if (markCount === 0) return
  const record = signatures.add(at)
  store<i32>(record, values.count, 4)
  store<i32>(record, idOf(first, end, values.room(end - first, at)))
}

/** Writes the values; 0 for a span with one that cannot be judged here. */
@inline
function idOf(first: i32, end: i32, valueAt: usize): i32 {
  const firstValue = valueAt
  let p = draft
  for (let ref = first; ref < end; ref++) {
    const attr = attrs.start + <usize>ref * ATTR_WIDTH
    const key = load<u32>(attr, ATTR_KEY)
    // A key that was not interned is a large number here.
    const mark = key < markCount ? load<u32>(marks + (<usize>key << 2)) : 0
    if (mark === 0) continue
    const type = load<u32>(attr, ATTR_TYPE)
    const size = load<u32>(attr, ATTR_LEN)
    const source = base + load<u32>(attr, ATTR_OFF)
    if (type === EMPTY || ((type === STRING || type === BYTES) && size === 0)) continue
    let value = ref
    if ((mark & 3) === NUMBER) {
      if (type === INT) {
        const number = intAt(source)
        if (number > MAX_NUMBER) continue
        value = <i32>number
      } else if (type === STRING) {
        if (!isPlain(source, size)) return 0
        if (digits(source, size) > MAX_NUMBER) continue
      } else if (type !== DOUBLE || !isInRange(load<f64>(source))) continue
    }
    if (p > draft + FULL) return 0
    store<u32>(p, (mark << 3) | type)
    p += 4
    if ((mark & 3) === WORD) {
      if (size > LONGEST_WORD) return 0
      store<u32>(p, size)
      copy(p + 4, source, size)
      p += 4 + size
    }
    store<i32>(valueAt, value)
    valueAt += 4
  }
  values.end = valueAt
  values.count += <i32>((valueAt - firstValue) >> 2)
  return known(p)
}

@inline
function isInRange(value: f64): bool {
  return value >= 0 && value <= <f64>MAX_NUMBER
}

/** Nothing but a few digits: other texts may be numbers, too, and are not read here. */
function isPlain(source: usize, size: u32): bool {
  if (size > 18) return false
  for (let i: u32 = 0; i < size; i++) if (load<u8>(source + i) - 48 > 9) return false
  return true
}

function digits(source: usize, size: u32): u64 {
  let value: u64 = 0
  for (let i: u32 = 0; i < size; i++) value = value * 10 + (load<u8>(source + i) - 48)
  return value
}

/** Negative ones are large. */
@inline
function intAt(source: usize): u64 {
  let value: u64 = 0
  let shift: u64 = 0
  let p = source
  for (; load<u8>(p) > 127; p++) {
    value |= (<u64>load<u8>(p) & 127) << shift
    shift += 7
  }
  return value | (<u64>load<u8>(p) << shift)
}

/** The id of the draft up to `end`. */
@inline
function known(end: usize): i32 {
  // Compared and hashed by 16 bytes.
  v128.store(end, i64x2.splat(0))
  const size = <u32>(end - draft)
  const newest = entries + <usize>(hash(size) & (ENTRIES - 2)) * ENTRY
  if (isDraft(newest, size)) return load<i32>(newest)
  const older = newest + ENTRY
  if (isDraft(older, size)) return load<i32>(older)
  memory.copy(older, newest, ENTRY)
  const id = signatureId()
  store<i32>(newest, id)
  store<u32>(newest, size, 4)
  memory.copy(newest + HEAD, draft, ENTRY - HEAD)
  return id
}

/** Two lanes: a multiplication need not wait for the one before. */
@inline
function hash(size: u32): u32 {
  let one: u64 = size
  let two: u64 = 0
  for (let p = draft; p < draft + size; p += 16) {
    one = (one ^ load<u64>(p)) * 0x9e3779b97f4a7c15
    two = (two ^ load<u64>(p, 8)) * 0xff51afd7ed558ccd
  }
  one ^= rotr(two, 29)
  return <u32>(((one ^ (one >> 32)) * 0x9e3779b97f4a7c15) >> 40)
}

@inline
function isDraft(entry: usize, size: u32): bool {
  if (load<i32>(entry) === 0 || load<u32>(entry, 4) !== size) return false
  for (let i: usize = 0; i < <usize>size; i += 16)
    if (v128.any_true(v128.xor(v128.load(entry + HEAD + i), v128.load(draft + i)))) return false
  return true
}
