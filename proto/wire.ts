/**
 * The protobuf wire format (protobuf.dev/programming-guides/encoding): reading with framing checks, and writing.
 * A message is a run of fields; a field is a tag varint (number << 3 | wire type) and a value:
 *
 *   wire type 0 VARINT  1..10 bytes, 7 bits each, low first     1 I64  8 bytes     2 LEN  varint n, n bytes
 *             3, 4 group start and end: refused (proto3 has none)          5 I32  4 bytes
 */
export const WIRE = { varint: 0, i64: 1, len: 2, i32: 5 } as const

/** Bytes that are not a valid message: where, and what is wrong there. */
export class WireError extends Error {
  override readonly name = 'WireError'
  readonly offset: number
  readonly reason: string

  constructor(offset: number, reason: string) {
    super(`${reason} at byte ${offset}`)
    this.offset = offset
    this.reason = reason
  }
}

/** A Buffer over the same memory: for `utf8Slice`, `copy` and the like. */
export function bufferOf(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

/**
 * Walks the fields of one message in `bytes[pos, end)`. `next()` reads a tag; then exactly one of the readers or `skip()`.
 * For code off the hot path; `otlp/scan.ts` reads by hand.
 */
export class Cursor {
  readonly bytes: Buffer
  pos: number
  end: number
  field = 0
  wire = 0
  /** Where the tag of the current field starts: the field's bytes are `[start, pos)` once its value is read. */
  start = 0

  constructor(bytes: Uint8Array, pos = 0, end = bytes.length) {
    this.bytes = bufferOf(bytes)
    this.pos = pos
    this.end = end
  }

  next(): boolean {
    if (this.pos >= this.end) return false
    this.start = this.pos
    const tag = this.varint()
    if (tag > 0xffffffff) throw new WireError(this.start, 'a field number is too large')
    this.field = Math.floor(tag / 8)
    this.wire = tag % 8
    if (this.field === 0) throw new WireError(this.start, 'a field number is 0')
    return true
  }

  /** An unsigned varint as a number: exact up to 2^53, enough for tags, lengths and counts. */
  varint(): number {
    const start = this.pos
    let value = 0
    let scale = 1
    for (let p = start; p < this.end; p++) {
      const byte = this.bytes[p]!
      value += (byte & 127) * scale
      if (byte < 128) {
        this.pos = p + 1
        return value
      }
      if (p - start === 9) throw new WireError(start, 'a varint is longer than 10 bytes')
      scale *= 128
    }
    throw new WireError(start, 'the message ends inside a varint')
  }

  /** A varint as int64. */
  int64(): bigint {
    const start = this.pos
    this.varint()
    return int64At(this.bytes, start)
  }

  /** A varint as int32 (enums): the low 32 bits, signed. */
  int32(): number {
    return Number(BigInt.asIntN(32, this.int64()))
  }

  uint32(): number {
    return Number(BigInt.asUintN(32, this.int64()))
  }

  /** A LEN value: its content is `bytes[content, pos)` afterwards. */
  len(): number {
    const start = this.pos
    const length = this.varint()
    if (length > this.end - this.pos) {
      throw new WireError(start, `a length of ${length} runs past the end of its message`)
    }
    const content = this.pos
    this.pos += length
    return content
  }

  string(): string {
    const content = this.len()
    return this.bytes.toString('utf8', content, this.pos)
  }

  /** A view of the content. */
  view(): Buffer {
    const content = this.len()
    return this.bytes.subarray(content, this.pos)
  }

  /** A cursor over the content. */
  message(): Cursor {
    const content = this.len()
    return new Cursor(this.bytes, content, this.pos)
  }

  /** The offset of a value of `size` bytes, passed over. */
  fixed(size: 4 | 8): number {
    const at = this.pos
    if (this.end - at < size) throw new WireError(at, `the message ends inside a value of ${size} bytes`)
    this.pos = at + size
    return at
  }

  expect(wire: number): void {
    if (this.wire !== wire) {
      throw new WireError(this.start, `field ${this.field} has wire type ${this.wire}, not ${wire}`)
    }
  }

  skip(): void {
    switch (this.wire) {
      case WIRE.varint:
        this.varint()
        return
      case WIRE.i64:
        this.fixed(8)
        return
      case WIRE.len:
        this.len()
        return
      case WIRE.i32:
        this.fixed(4)
        return
      default:
        throw new WireError(
          this.start,
          `field ${this.field} has wire type ${this.wire}, which OTLP never uses`,
        )
    }
  }
}

/** The int64 of a varint already known to be well-framed. */
export function int64At(bytes: Uint8Array, pos: number): bigint {
  const low = lowWordAt(bytes, pos)
  return (BigInt(highWord) << 32n) | BigInt(low >>> 0)
}

/** As `int64At`, as a number: exact within ±2^53. Allocates nothing. */
export function intAt(bytes: Uint8Array, pos: number): number {
  const low = lowWordAt(bytes, pos)
  return highWord * 4294967296 + (low >>> 0)
}

/** Of the varint that `lowWordAt` read last. Two words in one object would be allocated for every number. */
let highWord = 0

function lowWordAt(bytes: Uint8Array, pos: number): number {
  let low = 0
  let high = 0
  let p = pos
  for (let shift = 0; ; shift += 7, p++) {
    const byte = bytes[p]!
    const bits = byte & 127
    if (shift < 28) low |= bits << shift
    else if (shift === 28) {
      low |= bits << 28
      high = bits >>> 4
    } else if (shift < 63) high |= bits << (shift - 32)
    else high |= (bits & 1) << 31
    if (byte < 128) break
  }
  highWord = high
  return low
}

/** Bytes that an unsigned varint of `value` (< 2^53) takes. */
export function varintSize(value: number): number {
  let size = 1
  for (let rest = value; rest > 127; rest = Math.floor(rest / 128)) size++
  return size
}

/** A growing buffer that messages are written into. */
export class Sink {
  #buffer: Buffer
  #length = 0

  constructor(capacity = 1024) {
    this.#buffer = Buffer.allocUnsafe(capacity)
  }

  get length(): number {
    return this.#length
  }

  /** The bytes written: a view of the sink's own memory, which the sink must not be used to extend afterwards. */
  take(): Buffer {
    return this.#buffer.subarray(0, this.#length)
  }

  tag(field: number, wire: number): void {
    this.varint(field * 8 + wire)
  }

  varint(value: number): void {
    this.#reserve(10)
    const buffer = this.#buffer
    let at = this.#length
    let rest = value
    while (rest > 127) {
      buffer[at++] = (rest % 128) | 128
      rest = Math.floor(rest / 128)
    }
    buffer[at++] = rest
    this.#length = at
  }

  /** int64 and uint64 alike: the low 64 bits. */
  varint64(value: bigint): void {
    this.#reserve(10)
    let rest = BigInt.asUintN(64, value)
    while (rest > 127n) {
      this.#buffer[this.#length++] = Number(rest & 127n) | 128
      rest >>= 7n
    }
    this.#buffer[this.#length++] = Number(rest)
  }

  fixed32(value: number): void {
    this.#reserve(4)
    this.#length = this.#buffer.writeUInt32LE(value >>> 0, this.#length)
  }

  fixed64(value: bigint): void {
    this.#reserve(8)
    this.#length = this.#buffer.writeBigUInt64LE(BigInt.asUintN(64, value), this.#length)
  }

  double(value: number): void {
    this.#reserve(8)
    this.#length = this.#buffer.writeDoubleLE(value, this.#length)
  }

  raw(source: Uint8Array, from = 0, to = source.length): void {
    const size = to - from
    this.#reserve(size)
    this.#buffer.set(from === 0 && to === source.length ? source : source.subarray(from, to), this.#length)
    this.#length += size
  }

  /** A LEN value of these bytes. */
  bytes(source: Uint8Array): void {
    this.varint(source.length)
    this.raw(source)
  }

  /** A LEN value of the UTF-8 of `text`. */
  string(text: string): void {
    const size = Buffer.byteLength(text)
    this.varint(size)
    this.#reserve(size)
    this.#buffer.write(text, this.#length, size, 'utf8')
    this.#length += size
  }

  /** Starts a LEN field whose length is not known yet; `close` with the mark when its content is written. */
  open(field: number): number {
    this.tag(field, WIRE.len)
    this.#reserve(1)
    this.#length += 1
    return this.#length
  }

  /** Writes the length before `mark`: one byte was kept for it, longer ones move the content. */
  close(mark: number): void {
    const size = this.#length - mark
    const extra = varintSize(size) - 1
    // Before the length is taken back: a buffer that grows keeps what is below it only.
    this.#reserve(10)
    if (extra > 0) {
      this.#buffer.copyWithin(mark + extra, mark, this.#length)
    }
    this.#length = mark - 1
    this.varint(size)
    this.#length += size
  }

  #reserve(size: number): void {
    const need = this.#length + size
    if (need <= this.#buffer.length) return
    const grown = Buffer.allocUnsafe(Math.max(need, this.#buffer.length * 2))
    grown.set(this.#buffer.subarray(0, this.#length))
    this.#buffer = grown
  }
}
