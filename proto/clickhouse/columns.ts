import { Sink } from './sink.ts'

/**
 * Columns of ClickHouse's Native format (the server's `NativeWriter` without a client revision, which is what `FORMAT Native` over HTTP and
 * `file(…, Native)` read). Everything is little-endian. A column is filled row by row and written as `parts()`.
 *
 * | type | body |
 * | --- | --- |
 * | UInt32, UInt64, Int64, Float64, Decimal(18,s), DateTime64 | the values, one after another |
 * | String | per value: LEB128 length, bytes |
 * | FixedString(n) | n bytes per value |
 * | Nullable(T) | one byte per row (1 = NULL), then T |
 * | Array(T), Map(K, V) | UInt64 end offset per row, then the elements (Map: all keys, then all values) |
 * | LowCardinality(String) | UInt64 1 (version), then unless empty: UInt64 flags, UInt64 n, n strings, UInt64 rows, an index per row |
 *
 * The version word of a LowCardinality inside an Array or Map stands before the offsets: all prefixes come first.
 */
export interface Column {
  readonly name: string
  readonly type: string
  /** Valid until the column is filled again. */
  parts(): Uint8Array[]
  clear(): void
  /** Bytes held for the rows so far, close enough to bound a block. */
  readonly size: number
}

/** A part of an Array or Map. */
interface Values {
  prefix(): Uint8Array[]
  body(): Uint8Array[]
  clear(): void
  readonly count: number
  readonly size: number
}

export class StringColumn implements Column, Values {
  readonly type = 'String'
  readonly name: string
  readonly sink = new Sink()
  count = 0

  constructor(name: string) {
    this.name = name
  }

  get size(): number {
    return this.sink.length
  }

  addBytes(source: Uint8Array, start: number, end: number): void {
    this.sink.string(source, start, end)
    this.count++
  }

  addText(text: string): void {
    this.sink.text(text)
    this.count++
  }

  /** Lower-case hexadecimal of `source[start, end)`. */
  addHex(source: Uint8Array, start: number, end: number): void {
    const digits = (end - start) * 2
    this.sink.varint(digits)
    let at = this.sink.reserve(digits)
    const out = this.sink.bytes
    for (let i = start; i < end; i++) {
      const byte = source[i] as number
      out[at++] = HEX[byte >>> 4] as number
      out[at++] = HEX[byte & 15] as number
    }
    this.sink.length = at
    this.count++
  }

  /** `n` values that are already encoded. */
  addEncoded(encoded: Uint8Array, n: number): void {
    this.sink.append(encoded)
    this.count += n
  }

  prefix(): Uint8Array[] {
    return []
  }

  body(): Uint8Array[] {
    return [this.sink.view()]
  }

  parts(): Uint8Array[] {
    return this.body()
  }

  clear(): void {
    this.sink.clear()
    this.count = 0
  }
}

const HEX = Buffer.from('0123456789abcdef')

/** Values of a fixed width. */
export class FixedColumn implements Column, Values {
  readonly name: string
  readonly type: string
  readonly width: number
  readonly sink = new Sink()

  constructor(name: string, type: string, width: number) {
    this.name = name
    this.type = type
    this.width = width
  }

  get count(): number {
    return this.sink.length / this.width
  }

  get size(): number {
    return this.sink.length
  }

  addU32(value: number): void {
    const at = this.sink.reserve(4)
    const out = this.sink.bytes
    out[at] = value
    out[at + 1] = value >>> 8
    out[at + 2] = value >>> 16
    out[at + 3] = value >>> 24
    this.sink.length = at + 4
  }

  /** A 64-bit value in two unsigned halves: no BigInt is made. */
  addPair(low: number, high: number): void {
    this.addU32(low)
    this.addU32(high)
  }

  /** A safe integer ≥ 0. */
  addU64(value: number): void {
    this.addPair(value >>> 0, Math.floor(value / 0x1_0000_0000))
  }

  addF64(value: number): void {
    const at = this.sink.reserve(8)
    this.sink.bytes.writeDoubleLE(value, at)
    this.sink.length = at + 8
  }

  addU8(value: number): void {
    const at = this.sink.reserve(1)
    this.sink.bytes[at] = value
    this.sink.length = at + 1
  }

  /** `width` bytes as they are. */
  addBytes(source: Uint8Array, start: number): void {
    const { width, sink } = this
    const at = sink.reserve(width)
    const out = sink.bytes
    for (let i = 0; i < width; i++) out[at + i] = source[start + i] as number
    sink.length = at + width
  }

  prefix(): Uint8Array[] {
    return []
  }

  body(): Uint8Array[] {
    return [this.sink.view()]
  }

  parts(): Uint8Array[] {
    return this.body()
  }

  clear(): void {
    this.sink.clear()
  }
}

/** Nullable(T) over a fixed-width T. */
export class NullableColumn implements Column {
  readonly name: string
  readonly type: string
  readonly nulls: FixedColumn
  readonly values: FixedColumn

  constructor(name: string, type: string, width: number) {
    this.name = name
    this.type = `Nullable(${type})`
    this.nulls = new FixedColumn(name, 'UInt8', 1)
    this.values = new FixedColumn(name, type, width)
  }

  get size(): number {
    return this.nulls.size + this.values.size
  }

  addPair(low: number, high: number): void {
    this.nulls.addU8(0)
    this.values.addPair(low, high)
  }

  addNull(): void {
    this.nulls.addU8(1)
    this.values.addPair(0, 0)
  }

  parts(): Uint8Array[] {
    return [...this.nulls.body(), ...this.values.body()]
  }

  clear(): void {
    this.nulls.clear()
    this.values.clear()
  }
}

/** Array(T), Map(K, V) and the columns of a Nested: rows of elements. The parts of one row are added to `values` first, then `endRow`. */
export class RowsColumn implements Column, Values {
  readonly name: string
  readonly type: string
  readonly values: readonly Values[]
  readonly offsets: FixedColumn

  constructor(name: string, type: string, values: readonly Values[]) {
    this.name = name
    this.type = type
    this.values = values
    this.offsets = new FixedColumn(name, 'UInt64', 8)
  }

  get count(): number {
    return this.offsets.count
  }

  get size(): number {
    return this.values.reduce((sum, part) => sum + part.size, this.offsets.size)
  }

  endRow(): void {
    this.offsets.addU64(this.values[0]?.count ?? 0)
  }

  prefix(): Uint8Array[] {
    return this.values.flatMap((part) => part.prefix())
  }

  body(): Uint8Array[] {
    return [...this.offsets.body(), ...this.values.flatMap((part) => part.body())]
  }

  parts(): Uint8Array[] {
    return [...this.prefix(), ...this.body()]
  }

  clear(): void {
    this.offsets.clear()
    for (const part of this.values) part.clear()
  }
}
