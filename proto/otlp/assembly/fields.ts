/*
 * Reading fields: functions take a position and the end of the message, both addresses, and return the next position; a tag, a
 * length or an enum's value is left in `v`.
 */

/** Address of the request. */
export let base: usize = 0
export let v: u32 = 0
/** Some bytes that may be text are in no record: fields that are unknown, values that a later one replaced. */
export let unlisted: bool = false

/* What is wrong with the request: which of the texts in scan.ts, where, and what they name. */
let code: i32 = 0
let place: u32 = 0
let one: f64 = 0
let two: f64 = 0

export function openFields(start: usize): void {
  base = start
  unlisted = false
  code = 0
}

export function markUnlisted(): void {
  unlisted = true
}

/** 0: nothing is wrong. */
export function errorCode(): i32 {
  return code
}

export function errorPlace(): u32 {
  return place
}

export function errorOne(): f64 {
  return one
}

export function errorTwo(): f64 {
  return two
}

/** Ends the scan: the trap comes out at the host as a WebAssembly.RuntimeError. */
export function fail(which: i32, at: usize, first: f64 = 0, second: f64 = 0): void {
  code = which
  place = <u32>(at - base)
  one = first
  two = second
  unreachable()
}

export const ZERO_FIELD = 1
export const LARGE_FIELD = 2
export const LONG_LENGTH = 3
export const LONG_VARINT = 4
export const CUT_VARINT = 5
export const WRONG_WIRE = 6
export const UNKNOWN_WIRE = 7
export const CUT_VALUE = 8
export const ID_SIZE = 9
export const TOO_DEEP = 10
export const TOO_MANY = 11
export const TOO_LARGE = 12

/* Of the varint that `longVarint` read last; `wide` is saturated where it has more than 64 bits. */
let wide: u64 = 0
let low: u32 = 0

/** The position must be before the end. */
@inline
export function tag(pos: usize, end: usize): usize {
  const first = load<u8>(pos)
  if (first < 128) {
    v = first
    if (first < 8) fail(ZERO_FIELD, pos)
    return pos + 1
  }
  return longTag(pos, end)
}

function longTag(pos: usize, end: usize): usize {
  const p = longVarint(pos, end)
  if (wide > 0xffff_ffff) fail(LARGE_FIELD, pos)
  v = <u32>wide
  if (v < 8) fail(ZERO_FIELD, pos)
  return p
}

/** A length that fits into the message. */
@inline
export function length(pos: usize, end: usize): usize {
  if (pos < end) {
    const first = load<u8>(pos)
    if (first < 128) {
      v = first
      if (v > <u32>(end - pos - 1)) fail(LONG_LENGTH, pos, v)
      return pos + 1
    }
  }
  return longLength(pos, end)
}

function longLength(pos: usize, end: usize): usize {
  const p = longVarint(pos, end)
  if (wide > <u64>(end - p)) fail(LONG_LENGTH, pos, <f64>wide)
  v = <u32>wide
  return p
}

/** Its low 32 bits. */
export function varint(pos: usize, end: usize): usize {
  if (pos < end && load<u8>(pos) < 128) {
    v = load<u8>(pos)
    return pos + 1
  }
  const p = longVarint(pos, end)
  v = low
  return p
}

function longVarint(pos: usize, end: usize): usize {
  let value: u64 = 0
  for (let p = pos; p < end; p++) {
    const byte = <u64>load<u8>(p)
    const shift = <u64>(p - pos) * 7
    value |= (byte & 127) << shift
    if (byte < 128) {
      low = <u32>value
      wide = shift === 63 && byte > 1 ? u64.MAX_VALUE : value
      return p + 1
    }
    if (shift === 63) fail(LONG_VARINT, pos)
  }
  fail(CUT_VARINT, pos)
  return 0
}

/** Passes over a field that the table does not hold; refuses fields 1..known, which came with the wrong wire type. */
export function other(at: usize, pos: usize, end: usize, known: u32): usize {
  const field = v >> 3
  const wire = v & 7
  if (field <= known) fail(WRONG_WIRE, at, field, wire)
  if (wire === 2) unlisted = true
  return skip(at, pos, end)
}

/** Passes over the value of the field at `at` whose tag is in `v`. */
export function skip(at: usize, pos: usize, end: usize): usize {
  const wire = v & 7
  if (wire === 0) return varint(pos, end)
  if (wire === 2) {
    const p = length(pos, end)
    return p + v
  }
  if (wire !== 1 && wire !== 5) fail(UNKNOWN_WIRE, at, wire)
  const size: usize = wire === 1 ? 8 : 4
  if (end - pos < size) fail(CUT_VALUE, pos, <f64>size)
  return pos + size
}

/** The content of the next field `wanted`, its length in `v`; 0 at the end. Over fields that were checked before. */
export function seek(wanted: u32, pos: usize, end: usize): usize {
  let p = pos
  while (p < end) {
    const at = p
    p = tag(p, end)
    if (v === wanted) return length(p, end)
    p = skip(at, p, end)
  }
  return 0
}
