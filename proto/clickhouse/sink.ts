/**
 * A growing run of bytes. The hot helpers keep buffer and position in locals: module or field state written per
 * byte costs 1.6 times the whole transcode (measured). Kept and cleared between blocks, so that a steady load
 * allocates nothing.
 */
export class Sink {
  bytes: Buffer
  length = 0
  #view: DataView

  constructor(capacity = 1024) {
    this.bytes = Buffer.allocUnsafeSlow(capacity)
    this.#view = new DataView(this.bytes.buffer)
  }

  clear(): void {
    this.length = 0
  }

  /** Makes room for `extra` more bytes and returns where they go; the caller moves `length`. */
  reserve(extra: number): number {
    const at = this.length
    if (at + extra > this.bytes.length) this.#grow(at + extra)
    return at
  }

  view(): Buffer {
    return this.bytes.subarray(0, this.length)
  }

  varint(value: number): void {
    let at = this.reserve(8)
    const out = this.bytes
    let rest = value
    while (rest >= 0x80) {
      out[at++] = (rest % 0x80) | 0x80
      rest = Math.floor(rest / 0x80)
    }
    out[at++] = rest
    this.length = at
  }

  /** `source[start, end)` as ClickHouse writes a string: LEB128 length, then the bytes. */
  string(source: Uint8Array, start: number, end: number): void {
    const size = end - start
    let at = this.reserve(size + 5)
    const out = this.bytes
    if (size < 0x80) {
      out[at++] = size
    } else if (size < 0x4000) {
      out[at++] = (size & 0x7f) | 0x80
      out[at++] = size >>> 7
    } else {
      this.varint(size)
      at = this.length
    }
    // Below these sizes a loop beats the call into Buffer.copy or the view that `set` needs (measured).
    if (size < 24) for (let i = start; i < end; i++) out[at++] = source[i] as number
    else {
      if (size < 1024) copyWords(viewOf(source), start, this.#view, at, size)
      else out.set(source.subarray(start, end), at)
      at += size
    }
    this.length = at
  }

  /** An integer as ClickHouse writes its decimal text as a string. Up to 2^31: without a JS string. */
  integer(value: number): void {
    if (!(value >= 0 && value < 0x8000_0000)) return this.text(String(value))
    let digits = 1
    for (let bound = 10; value >= bound; bound *= 10) digits++
    const at = this.reserve(digits + 1)
    const out = this.bytes
    out[at] = digits
    let rest = value | 0
    for (let i = at + digits; i > at; i--) {
      const next = (rest / 10) | 0
      out[i] = 48 + rest - next * 10
      rest = next
    }
    this.length = at + digits + 1
  }

  /** `text` as UTF-8, as ClickHouse writes a string. */
  text(text: string): void {
    const units = text.length
    if (units < 42) {
      const at = this.reserve(units + 1)
      const out = this.bytes
      let i = 0
      for (; i < units; i++) {
        const code = text.charCodeAt(i)
        if (code >= 0x80) break
        out[at + 1 + i] = code
      }
      if (i === units) {
        out[at] = units
        this.length = at + 1 + units
        return
      }
    }
    const size = Buffer.byteLength(text)
    this.varint(size)
    const at = this.reserve(size)
    this.bytes.write(text, at, size, 'utf8')
    this.length = at + size
  }

  byte(value: number): void {
    const at = this.reserve(1)
    this.bytes[at] = value
    this.length = at + 1
  }

  /** What was written to [start, end), once more. */
  repeat(start: number, end: number): void {
    const at = this.reserve(end - start)
    this.bytes.copyWithin(at, start, end)
    this.length = at + end - start
  }

  #grow(needed: number): void {
    const larger = Buffer.allocUnsafeSlow(Math.max(needed, this.bytes.length * 2))
    this.bytes.copy(larger, 0, 0, this.length)
    this.bytes = larger
    this.#view = new DataView(larger.buffer)
  }
}

function copyWords(source: DataView, start: number, out: DataView, at: number, size: number): void {
  const whole = size & ~3
  for (let i = 0; i < whole; i += 4) out.setInt32(at + i, source.getInt32(start + i, true), true)
  for (let i = whole; i < size; i++) out.setUint8(at + i, source.getUint8(start + i))
}

/** The values of a request follow one another: its view is made once. */
function viewOf(source: Uint8Array): DataView {
  if (source === lastSource) return lastView
  lastSource = source
  lastView = new DataView(source.buffer, source.byteOffset, source.byteLength)
  return lastView
}

let lastSource: Uint8Array = new Uint8Array(0)
let lastView = new DataView(lastSource.buffer)
