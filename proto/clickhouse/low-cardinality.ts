import { randomBytes } from 'node:crypto'
import type { Column } from './columns.ts'
import { Sink } from './sink.ts'

/** Version of the key serialization: shared dictionaries with additional keys, the only one there is. */
const VERSION = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
/** Index flags: this block brings its own keys, and they replace what came before. */
const HAS_ADDITIONAL_KEYS = 0x200
const NEED_UPDATE_DICTIONARY = 0x400

/**
 * LowCardinality(String): each different value once, and an index per row. Values come as bytes (looked up in a hash
 * table over the encoded keys), as JS strings, or as an index that an earlier `index…` call gave.
 */
export class LowCardinalityColumn implements Column {
  readonly type = 'LowCardinality(String)'
  readonly name: string
  readonly #keys = new Sink()
  /** Where key i starts in `#keys`, behind its length; and how long it is. */
  #starts = new Int32Array(64)
  #sizes = new Int32Array(64)
  #table = new Int32Array(256)
  readonly #texts = new Map<string, number>()
  #lastText = ''
  #lastIndex = -1
  #distinct = 0
  #rows = new Uint32Array(1024)
  #count = 0

  constructor(name: string) {
    this.name = name
  }

  get size(): number {
    return this.#keys.length + this.#count * 4
  }

  /** Grows with `clear`; an index is valid while it stays the same. */
  generation = 0

  addBytes(source: Uint8Array, start: number, end: number): void {
    this.addIndex(this.indexOfBytes(source, start, end))
  }

  addText(text: string): void {
    if (text === this.#lastText && this.#lastIndex >= 0) this.addIndex(this.#lastIndex)
    else this.addIndex(this.indexOfText(text))
  }

  addIndex(index: number): void {
    if (this.#count === this.#rows.length) this.#rows = grown(this.#rows, Uint32Array)
    this.#rows[this.#count++] = index
  }

  /** `texts` of the rows. */
  addTexts(texts: readonly string[], rows: Int32Array): void {
    const out = this.#room(rows.length)
    let count = this.#count
    let last = this.#lastText
    let index = this.#lastIndex
    for (let i = 0; i < rows.length; i++) {
      const text = texts[rows[i]!]!
      if (index < 0 || text !== last) {
        index = this.indexOfText(text)
        last = text
      }
      out[count++] = index
    }
    this.#count = count
  }

  addRepeated(index: number, times: number): void {
    this.#room(times).fill(index, this.#count, this.#count + times)
    this.#count += times
  }

  addIndexes(indexes: readonly number[]): void {
    const out = this.#room(indexes.length)
    let count = this.#count
    for (let i = 0; i < indexes.length; i++) out[count++] = indexes[i]!
    this.#count = count
  }

  #room(extra: number): Uint32Array {
    while (this.#count + extra > this.#rows.length) this.#rows = grown(this.#rows, Uint32Array)
    return this.#rows
  }

  indexOfText(text: string): number {
    let index = this.#texts.get(text)
    if (index === undefined) {
      const bytes = Buffer.from(text)
      index = this.indexOfBytes(bytes, 0, bytes.length)
      this.#texts.set(text, index)
    }
    this.#lastText = text
    this.#lastIndex = index
    return index
  }

  indexOfBytes(source: Uint8Array, start: number, end: number): number {
    const table = this.#table
    const mask = table.length - 1
    let slot = hash(source, start, end) & mask
    for (;;) {
      const found = (table[slot] as number) - 1
      if (found < 0) return this.#insert(slot, source, start, end)
      if (this.#equals(found, source, start, end)) return found
      slot = (slot + 1) & mask
    }
  }

  #equals(index: number, source: Uint8Array, start: number, end: number): boolean {
    const size = end - start
    if (this.#sizes[index] !== size) return false
    const keys = this.#keys.bytes
    const at = this.#starts[index] as number
    for (let i = 0; i < size; i++) if (keys[at + i] !== source[start + i]) return false
    return true
  }

  #insert(slot: number, source: Uint8Array, start: number, end: number): number {
    const index = this.#distinct++
    if (index === this.#starts.length) {
      this.#starts = grown(this.#starts, Int32Array)
      this.#sizes = grown(this.#sizes, Int32Array)
    }
    this.#keys.string(source, start, end)
    this.#starts[index] = this.#keys.length - (end - start)
    this.#sizes[index] = end - start
    this.#table[slot] = index + 1
    if (this.#distinct * 2 > this.#table.length) this.#rehash()
    return index
  }

  #rehash(): void {
    const table = new Int32Array(this.#table.length * 2)
    const mask = table.length - 1
    for (let index = 0; index < this.#distinct; index++) {
      const start = this.#starts[index] as number
      let slot = hash(this.#keys.bytes, start, start + (this.#sizes[index] as number)) & mask
      while (table[slot] !== 0) slot = (slot + 1) & mask
      table[slot] = index + 1
    }
    this.#table = table
  }

  prefix(): Uint8Array[] {
    return [VERSION]
  }

  body(): Uint8Array[] {
    if (this.#count === 0) return []
    const width = this.#distinct <= 0x100 ? 0 : this.#distinct <= 0x1_0000 ? 1 : 2
    const head = Buffer.alloc(16)
    head.writeUInt32LE(width | HAS_ADDITIONAL_KEYS | NEED_UPDATE_DICTIONARY, 0)
    head.writeUInt32LE(this.#distinct, 8)
    const rows = Buffer.alloc(8)
    rows.writeUInt32LE(this.#count, 0)
    return [head, this.#keys.view(), rows, narrowed(this.#rows, this.#count, width)]
  }

  parts(): Uint8Array[] {
    return [...this.prefix(), ...this.body()]
  }

  clear(): void {
    this.generation++
    this.#count = 0
    this.#distinct = 0
    this.#lastIndex = -1
    this.#keys.clear()
    this.#texts.clear()
    // One block of high cardinality must not make every later clear expensive.
    if (this.#table.length > 65_536) this.#table = new Int32Array(256)
    else this.#table.fill(0)
  }
}

function narrowed(rows: Uint32Array, count: number, width: number): Uint8Array {
  const used = rows.subarray(0, count)
  const out = width === 0 ? new Uint8Array(used) : width === 1 ? new Uint16Array(used) : used
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength)
}

function grown<T extends Int32Array | Uint32Array>(array: T, type: new (length: number) => T): T {
  const larger = new type(array.length * 2)
  larger.set(array)
  return larger
}

/** Different in each process, so that nobody outside can choose names that collide. */
const SEED = randomBytes(4).readInt32LE(0)

/** MurmurHash3's mixing, four bytes at a time. */
function hash(source: Uint8Array, start: number, end: number): number {
  let h = SEED ^ (end - start)
  let at = start
  for (; at + 4 <= end; at += 4) {
    const word =
      (source[at] as number) |
      ((source[at + 1] as number) << 8) |
      ((source[at + 2] as number) << 16) |
      ((source[at + 3] as number) << 24)
    h = mixed(h, word)
  }
  let rest = 0
  for (; at < end; at++) rest = (rest << 8) | (source[at] as number)
  h = mixed(h, rest)
  h = Math.imul(h ^ (h >>> 16), 0x85ebca6b)
  h = Math.imul(h ^ (h >>> 13), 0xc2b2ae35)
  return (h ^ (h >>> 16)) >>> 0
}

function mixed(h: number, word: number): number {
  let k = Math.imul(word, 0xcc9e2d51)
  k = Math.imul((k << 15) | (k >>> 17), 0x1b873593)
  const turned = h ^ k
  return (Math.imul((turned << 13) | (turned >>> 19), 5) + 0xe6546b64) | 0
}
