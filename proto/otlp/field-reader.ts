import { WireError } from '../wire.ts'

const NO_BYTES = new Uint8Array(0)
const NO_VIEW = new DataView(NO_BYTES.buffer)

/**
 * The hot path's way of reading fields: methods take a position and the end of the message, and return the next
 * position; a varint's value (a tag, a length) is left in `v`.
 */
export class FieldReader {
  b: Uint8Array = NO_BYTES
  view: DataView = NO_VIEW
  v = 0
  /** Some bytes that may be text are in no record: fields that are unknown, values that a later one replaced. */
  unlisted = false

  open(bytes: Uint8Array): void {
    this.b = bytes
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    this.unlisted = false
  }

  /** Forgets the bytes, so that they may be collected. */
  close(): void {
    this.b = NO_BYTES
    this.view = NO_VIEW
  }

  tag(pos: number, end: number): number {
    const first = this.b[pos]!
    if (first < 128) {
      this.v = first
      if (first < 8) throw new WireError(pos, 'a field number is 0')
      return pos + 1
    }
    const p = this.longVarint(pos, end)
    if (this.v > 0xffffffff) throw new WireError(pos, 'a field number is too large')
    if (this.v < 8) throw new WireError(pos, 'a field number is 0')
    return p
  }

  /** A length that fits into the message, in `v`. */
  length(pos: number, end: number): number {
    let p = pos
    if (p < end && this.b[p]! < 128) this.v = this.b[p++]!
    else p = this.longVarint(pos, end)
    if (this.v > end - p) throw new WireError(pos, `a length of ${this.v} runs past the end of its message`)
    return p
  }

  varint(pos: number, end: number): number {
    if (pos < end && this.b[pos]! < 128) {
      this.v = this.b[pos]!
      return pos + 1
    }
    return this.longVarint(pos, end)
  }

  /** Exact up to 2^53, which is enough for tags and lengths. */
  longVarint(pos: number, end: number): number {
    const b = this.b
    let value = 0
    let scale = 1
    for (let p = pos; p < end; p++) {
      const byte = b[p]!
      value += (byte & 127) * scale
      if (byte < 128) {
        this.v = value
        return p + 1
      }
      if (p - pos === 9) throw new WireError(pos, 'a varint is longer than 10 bytes')
      scale *= 128
    }
    throw new WireError(pos, 'the message ends inside a varint')
  }

  /** Passes over a field that the table does not hold; refuses fields 1..known, which came with the wrong wire type. */
  other(at: number, pos: number, end: number, known: number): number {
    const field = Math.floor(this.v / 8)
    if (field <= known)
      throw new WireError(at, `field ${field} has wire type ${this.v % 8}, which it never has`)
    if (this.v % 8 === 2) this.unlisted = true
    return this.skip(at, pos, end)
  }

  /** Passes over the value of the field at `at` whose tag is in `v`. */
  skip(at: number, pos: number, end: number): number {
    const wire = this.v % 8
    if (wire === 0) return this.varint(pos, end)
    if (wire === 2) {
      const p = this.length(pos, end)
      return p + this.v
    }
    if (wire !== 1 && wire !== 5) throw new WireError(at, `wire type ${wire} is not one that OTLP uses`)
    const size = wire === 1 ? 8 : 4
    if (end - pos < size) throw new WireError(pos, `the message ends inside a value of ${size} bytes`)
    return pos + size
  }
}
