import type { KeyInterner } from '../intern.ts'
import { WireError } from '../wire.ts'
import { FieldReader } from './field-reader.ts'
import { ATTR_AT } from './table.ts'
import { F64_4, INT2, INT3, INT8, LEN1, LEN2, LEN5, LEN6, LEN7 } from './tags.ts'

/** AnyValues may nest this deep; deeper is refused (the collector's limit for JSON; protobuf's own is 100). */
export const MAX_DEPTH = 64

/**
 * The table may take this many bytes for each byte of the request, plus FREE. A span with its ids takes 3, an attribute
 * with a one-letter key takes 3; more is a request of empty messages, made to exhaust memory.
 */
const BLOW_UP = 8
const FREE = 1 << 20
/** Scratch beyond this is given back after the request that needed it. */
export const KEEP = 1 << 20

/** Scans attributes (KeyValue and AnyValue, common.proto) into records: the part that every signal shares. */
export class AttributeReader extends FieldReader {
  readonly keys: KeyInterner
  attrs: Int32Array = new Int32Array(ATTR_AT.width * 1024)
  nAttrs = 0
  /** Some key was not interned. */
  foreign = false
  /** Bytes that scratch may still grow by for this request. */
  budget = 0
  /** The value that `anyValue` found last. */
  vType = 0
  vOff = 0
  vLen = 0

  constructor(keys: KeyInterner) {
    super()
    this.keys = keys
  }

  override open(bytes: Uint8Array): void {
    super.open(bytes)
    this.nAttrs = 0
    this.foreign = false
    this.budget = bytes.length * BLOW_UP + FREE
  }

  override close(): void {
    super.close()
    if (this.attrs.length > KEEP) this.attrs = new Int32Array(ATTR_AT.width * 1024)
  }

  /** A KeyValue of some place becomes a record; `guess` is the key it probably has. */
  attribute(pos: number, end: number, guess: number): number {
    const i = this.nAttrs++ * ATTR_AT.width
    if (i + ATTR_AT.width > this.attrs.length) this.attrs = this.grow(this.attrs, pos)
    const quick = this.plainAttribute(pos, end, guess, i)
    if (quick > 0) return quick
    const p = this.length(pos, end)
    const next = p + this.v
    const record = this.attrs
    record[i + ATTR_AT.key] = this.keyValue(p, next, 0, guess)
    record[i + ATTR_AT.type] = this.vType
    record[i + ATTR_AT.off] = this.vOff
    record[i + ATTR_AT.len] = this.vLen
    return next
  }

  /**
   * The one layout that encoders write: `len 0a klen key 12 vlen tag value`, a string, an int or a double, filling its
   * message exactly. 0 for anything else, which the general way then reads or refuses. (Locals instead of `v`, no calls:
   * the scan of the standard request goes from 0.92 to 1.3 M spans/s.)
   */
  plainAttribute(pos: number, end: number, guess: number, i: number): number {
    const b = this.b
    if (end - pos < 8) return 0
    let p = pos
    let size = b[p++]!
    if (size > 127) {
      if (b[p]! > 127) return 0
      size = (size & 127) | (b[p++]! << 7)
    }
    const next = p + size
    if (next > end || size < 6 || b[p] !== LEN1) return 0
    const keySize = b[p + 1]!
    const key = p + 2
    p = key + keySize
    if (keySize > 127 || p + 4 > next || b[p] !== LEN2) return 0
    let valueSize = b[p + 1]!
    p += 2
    if (valueSize > 127) {
      if (b[p]! > 127) return 0
      valueSize = (valueSize & 127) | (b[p++]! << 7)
    }
    if (p + valueSize !== next || valueSize < 2) return 0
    const tag = b[p++]!
    if (tag === LEN1) {
      let length = b[p++]!
      if (length > 127) {
        if (p >= next || b[p]! > 127) return 0
        length = (length & 127) | (b[p++]! << 7)
      }
      if (p + length !== next) return 0
    } else if (tag === INT3) {
      if (next - p > 10) return 0
      for (let q = p; q < next - 1; q++) if (b[q]! < 128) return 0
      if (b[next - 1]! > 127) return 0
    } else if (tag !== F64_4 || next - p !== 8) return 0
    const record = this.attrs
    record[i] = this.keys.is(guess, this.view, key, keySize) ? guess : this.keyOf(key - 1, key, keySize)
    record[i + 1] = tag >> 3
    record[i + 2] = p
    record[i + 3] = next - p
    return next
  }

  /** KeyValue: string key = 1 · AnyValue value = 2 · int32 key_strindex = 3. Returns the key as `ATTR_AT.key` has it. */
  keyValue(start: number, end: number, depth: number, guess: number): number {
    this.vType = this.vOff = this.vLen = 0
    let mark = -1
    let key = 0
    let size = 0
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v === LEN1) {
        mark = p
        p = this.length(p, end)
        key = p
        size = this.v
        p += size
      } else if (this.v === LEN2) {
        p = this.length(p, end)
        const next = p + this.v
        if (this.vType !== 0 && depth === 0) this.unlisted = true
        this.anyValue(p, next, depth)
        p = next
      } else if (this.v === INT3) p = this.skip(at, p, end)
      else p = this.other(at, p, end, 3)
    }
    if (depth > 0) return 0
    return this.keys.is(guess, this.view, key, size) ? guess : this.keyOf(mark, key, size)
  }

  /** `ATTR_AT.key` of the key at [key, key + size), whose length varint is at `mark`. */
  keyOf(mark: number, key: number, size: number): number {
    const id = this.keys.find(this.view, key, size)
    if (id > 0) return id
    this.foreign = true
    return -1 - mark
  }

  /**
   * AnyValue: oneof { string_value = 1 · bool_value = 2 · int_value = 3 · double_value = 4 · array_value = 5
   *   · kvlist_value = 6 · bytes_value = 7 · string_value_strindex = 8 (profiles only) }.
   * The last member wins, a list over an earlier list too (as the collector's pdata has it; elsewhere they are merged).
   */
  anyValue(start: number, end: number, depth: number): void {
    let p = start
    let members = 0
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      const tag = this.v
      if (tag === LEN1 || tag === LEN7) p = this.length(p, end)
      else if (tag === INT2 || tag === INT3) {
        const value = p
        if (members++ > 0 && depth === 0) this.unlisted = true
        p = this.varint(p, end)
        this.vLen = p - value
        this.vOff = value
        this.vType = tag >> 3
        continue
      } else if (tag === F64_4) {
        this.v = 8
        if (end - p < 8) throw new WireError(p, 'the message ends inside a value of 8 bytes')
      } else if (tag === LEN5 || tag === LEN6) {
        p = this.length(p, end)
        const size = this.v
        this.nested(p, p + size, depth + 1, tag)
        this.v = size
      } else {
        p = tag === INT8 ? this.skip(at, p, end) : this.other(at, p, end, 8)
        continue
      }
      if (members++ > 0 && depth === 0) this.unlisted = true
      this.vType = tag >> 3
      this.vOff = p
      this.vLen = this.v
      p += this.v
    }
  }

  /** ArrayValue: repeated AnyValue values = 1. KeyValueList: repeated KeyValue values = 1. Checked, not recorded. */
  nested(start: number, end: number, depth: number, tag: number): void {
    if (depth >= MAX_DEPTH) throw new WireError(start, `values nest deeper than ${MAX_DEPTH}`)
    let p = start
    while (p < end) {
      const at = p
      p = this.tag(p, end)
      if (this.v !== LEN1) {
        p = this.other(at, p, end, 1)
        continue
      }
      p = this.length(p, end)
      const next = p + this.v
      if (tag === LEN5) this.anyValue(p, next, depth)
      else this.keyValue(p, next, depth, 0)
      p = next
    }
  }

  grow(array: Int32Array, at: number): Int32Array {
    const larger = new Int32Array(array.length * 2)
    this.budget -= array.byteLength
    if (this.budget < 0 && larger.length > KEEP)
      throw new WireError(at, 'too many empty elements for its size')
    larger.set(array)
    return larger
  }
}

const NO_RECORDS = new Int32Array(0)

/** Small copies are cut from a slab, as Node does for small buffers: V8 allocates each of its own outside of its heap. */
const SLAB_BYTES = 64 * 1024
const SMALL_RECORDS = 512
let slab = new ArrayBuffer(SLAB_BYTES)
let slabUsed = 0

export function copyOf(array: Int32Array, length: number): Int32Array {
  if (length === 0) return NO_RECORDS
  if (length > SMALL_RECORDS) return array.slice(0, length)
  const bytes = length * Int32Array.BYTES_PER_ELEMENT
  if (slabUsed + bytes > SLAB_BYTES) {
    slab = new ArrayBuffer(SLAB_BYTES)
    slabUsed = 0
  }
  const copy = new Int32Array(slab, slabUsed, length)
  slabUsed += bytes
  for (let at = 0; at < length; at++) copy[at] = array[at]!
  return copy
}
