import type { Arranger, Column } from './columns.ts'
import { Sink } from './sink.ts'

/** Version of the key serialization: shared dictionaries with additional keys, the only one there is. */
export const VERSION = Buffer.from([1, 0, 0, 0, 0, 0, 0, 0])
/** Index flags: this block brings its own keys, and they replace what came before. */
const HAS_ADDITIONAL_KEYS = 0x200
const NEED_UPDATE_DICTIONARY = 0x400

/** LowCardinality(String): each different value once, and an index per row. */
export class LowCardinalityColumn implements Column {
  readonly type = 'LowCardinality(String)'
  readonly name: string
  readonly #keys = new Sink()
  readonly #indexes = new Map<string, number>()
  #lastText = ''
  #lastIndex = -1
  #rows = new Uint32Array(1024)
  #count = 0

  constructor(name: string) {
    this.name = name
  }

  addText(text: string): void {
    if (text === this.#lastText && this.#lastIndex >= 0) this.addIndex(this.#lastIndex)
    else this.addIndex(this.indexOfText(text))
  }

  /** An index that `indexOfText` gave for this filling of the column. */
  addIndex(index: number): void {
    this.#room(1)[this.#count++] = index
  }

  /** Of each row the text at its index in `texts`: from dictionary to dictionary, each text is looked up once. */
  addTexts(texts: readonly string[], indexes: Uint32Array, rows: Int32Array): void {
    if (rows.length === 0) return
    if (texts.length === 1) return this.addRepeated(this.indexOfText(texts[0]!), rows.length)
    const there = new Int32Array(texts.length).fill(-1)
    const out = this.#room(rows.length)
    let count = this.#count
    for (let i = 0; i < rows.length; i++) {
      const index = indexes[rows[i]!]!
      if (there[index] === -1) there[index] = this.indexOfText(texts[index]!)
      out[count++] = there[index]!
    }
    this.#count = count
  }

  addRepeated(index: number, times: number): void {
    this.#room(times).fill(index, this.#count, this.#count + times)
    this.#count += times
  }

  indexOfText(text: string): number {
    let index = this.#indexes.get(text)
    if (index === undefined) {
      index = this.#indexes.size
      this.#keys.text(text)
      this.#indexes.set(text, index)
    }
    this.#lastText = text
    this.#lastIndex = index
    return index
  }

  arrange(arranger: Arranger): void {
    if (this.#indexes.size > 1)
      arranger.arrangeValues(new Uint8Array(this.#rows.buffer, 0, this.#count * 4), 4)
  }

  parts(): Uint8Array[] {
    if (this.#count === 0) return [VERSION]
    const distinct = this.#indexes.size
    const width = distinct <= 0x100 ? 0 : distinct <= 0x1_0000 ? 1 : 2
    const head = Buffer.alloc(16)
    head.writeUInt32LE(width | HAS_ADDITIONAL_KEYS | NEED_UPDATE_DICTIONARY, 0)
    head.writeUInt32LE(distinct, 8)
    const rows = Buffer.alloc(8)
    rows.writeUInt32LE(this.#count, 0)
    return [VERSION, head, this.#keys.view(), rows, narrowed(this.#rows, this.#count, width)]
  }

  clear(): void {
    this.#count = 0
    this.#lastIndex = -1
    this.#keys.clear()
    this.#indexes.clear()
  }

  #room(extra: number): Uint32Array {
    while (this.#count + extra > this.#rows.length) {
      const larger = new Uint32Array(this.#rows.length * 2)
      larger.set(this.#rows)
      this.#rows = larger
    }
    return this.#rows
  }
}

function narrowed(rows: Uint32Array, count: number, width: number): Uint8Array {
  const used = rows.subarray(0, count)
  const out = width === 0 ? new Uint8Array(used) : width === 1 ? new Uint16Array(used) : used
  return new Uint8Array(out.buffer, out.byteOffset, out.byteLength)
}
