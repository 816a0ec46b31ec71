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
export interface NativeColumn {
  readonly name: string
  readonly type: string
  /** Valid until the column is filled again. */
  parts(): Uint8Array[]
}

/** Puts the rows of any column in an order of its own. In place: what it is given are the bytes of all rows. */
export interface Arranger {
  /** Values of so many bytes each. */
  arrangeValues(bytes: Uint8Array, width: 1 | 4 | 8 | 16): void
  /** Strings as ClickHouse writes them. */
  arrangeStrings(bytes: Uint8Array): void
}

export interface Column extends NativeColumn {
  arrange(arranger: Arranger): void
  clear(): void
}

export class StringColumn implements Column {
  readonly type = 'String'
  readonly name: string
  readonly sink = new Sink()

  constructor(name: string) {
    this.name = name
  }

  addText(text: string): void {
    this.sink.text(text)
  }

  /** False, and no row, for bytes that are not ASCII. */
  addAscii(source: DataView, start: number, size: number): boolean {
    return this.sink.ascii(source, start, size)
  }

  arrange(arranger: Arranger): void {
    arranger.arrangeStrings(this.sink.view())
  }

  parts(): Uint8Array[] {
    return [this.sink.view()]
  }

  clear(): void {
    this.sink.clear()
  }
}

/** The machine writes numbers as the format wants them; every platform that Node and ClickHouse share does. */
const LITTLE_ENDIAN = new Uint8Array(Uint32Array.of(1).buffer)[0] === 1
if (!LITTLE_ENDIAN) throw new Error('the Native writer needs a little-endian machine')

/** Values of 4, 8 or 16 bytes, kept as 32-bit words. */
export class WordColumn implements Column {
  readonly name: string
  readonly type: string
  readonly #width: 4 | 8 | 16
  readonly #wordsEach: number
  #words = new Uint32Array(1024)
  #length = 0

  constructor(name: string, type: string, width: 4 | 8 | 16) {
    this.name = name
    this.type = type
    this.#width = width
    this.#wordsEach = width / 4
  }

  addU32(value: number): void {
    if (this.#length === this.#words.length) this.#grow()
    this.#words[this.#length++] = value
  }

  /** A 64-bit value in two unsigned halves: no BigInt is made. */
  addPair(low: number, high: number): void {
    this.addU32(low)
    this.addU32(high)
  }

  /** A safe integer ≥ 0. */
  addU64(value: number): void {
    this.addU32(value)
    this.addU32(value < 0x1_0000_0000 ? 0 : Math.floor(value / 0x1_0000_0000))
  }

  /** Of each row the value at `row * stride + first`, counted in 32-bit words. */
  addWords(words: Uint32Array, rows: Int32Array, stride: number, first: number): void {
    const each = this.#wordsEach
    const out = this.#room(rows.length * each)
    let length = this.#length
    for (let i = 0; i < rows.length; i++) {
      const at = rows[i]! * stride + first
      for (let word = 0; word < each; word++) out[length++] = words[at + word]!
    }
    this.#length = length
  }

  /** One value's bytes as they are. */
  addBytes(source: Uint8Array, start: number): void {
    for (let at = start, end = start + this.#wordsEach * 4; at < end; at += 4) {
      const high = ((source[at + 3] as number) << 24) | ((source[at + 2] as number) << 16)
      this.addU32(high | ((source[at + 1] as number) << 8) | (source[at] as number))
    }
  }

  #room(extra: number): Uint32Array {
    while (this.#length + extra > this.#words.length) this.#grow()
    return this.#words
  }

  #grow(): void {
    const larger = new Uint32Array(this.#words.length * 2)
    larger.set(this.#words)
    this.#words = larger
  }

  /** The values so far; valid until the next is added. */
  view(): Buffer {
    return Buffer.from(this.#words.buffer, 0, this.#length * 4)
  }

  arrange(arranger: Arranger): void {
    if (!isRepeated(this.#words, this.#length, this.#wordsEach))
      arranger.arrangeValues(this.view(), this.#width)
  }

  parts(): Uint8Array[] {
    return [this.view()]
  }

  clear(): void {
    this.#length = 0
  }
}

/** One value, over and over. */
function isRepeated(words: Uint32Array, length: number, each: number): boolean {
  for (let at = each; at < length; at++) if (words[at] !== words[at - each]) return false
  return true
}

/** UInt8. */
export class ByteColumn implements Column {
  readonly name: string
  readonly type = 'UInt8'
  readonly #sink = new Sink()

  constructor(name: string) {
    this.name = name
  }

  add(value: number): void {
    this.#sink.byte(value)
  }

  addValues(values: Uint8Array, rows: Int32Array): void {
    for (let i = 0; i < rows.length; i++) this.#sink.byte(values[rows[i]!]!)
  }

  arrange(arranger: Arranger): void {
    arranger.arrangeValues(this.#sink.view(), 1)
  }

  parts(): Uint8Array[] {
    return [this.#sink.view()]
  }

  clear(): void {
    this.#sink.clear()
  }
}

/** Nullable(T) over a fixed-width T. */
export class NullableColumn implements Column {
  readonly name: string
  readonly type: string
  readonly nulls: ByteColumn
  readonly values: WordColumn

  constructor(name: string, type: string, width: 4 | 8) {
    this.name = name
    this.type = `Nullable(${type})`
    this.nulls = new ByteColumn(name)
    this.values = new WordColumn(name, type, width)
  }

  addPair(low: number, high: number): void {
    this.nulls.add(0)
    this.values.addPair(low, high)
  }

  addNull(): void {
    this.nulls.add(1)
    this.values.addPair(0, 0)
  }

  arrange(arranger: Arranger): void {
    this.nulls.arrange(arranger)
    this.values.arrange(arranger)
  }

  parts(): Uint8Array[] {
    return [...this.nulls.parts(), ...this.values.parts()]
  }

  clear(): void {
    this.nulls.clear()
    this.values.clear()
  }
}
