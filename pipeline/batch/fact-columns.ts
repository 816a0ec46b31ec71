/** Values of a dictionary that are looked for one by one, before there is a map of the others. */
const FEW = 8

/** A text per row, of few different ones: a dictionary, and an index into it per row. Index 0 is ''. */
export class TextColumn {
  readonly texts: string[]
  readonly indexes: Uint32Array
  #last = 0
  /** Of the texts from FEW on. */
  #more: Map<string, number> | undefined

  constructor(rows: number, texts: string[] = [''], indexes: Uint32Array = new Uint32Array(rows)) {
    this.texts = texts
    this.indexes = indexes
  }

  /** '' for a row that there is not. */
  at(row: number): string {
    return this.texts[this.indexes[row] ?? 0] ?? ''
  }

  set(row: number, text: string): void {
    this.indexes[row] = this.indexOf(text)
  }

  /** As `set(row, '')`. */
  clear(row: number): void {
    this.indexes[row] = 0
  }

  /** The text's place in the dictionary; added when absent. */
  indexOf(text: string): number {
    const { texts } = this
    if (texts[this.#last] === text) return this.#last
    const few = Math.min(texts.length, FEW)
    for (let index = 0; index < few; index++) if (texts[index] === text) return (this.#last = index)
    const known = this.#more?.get(text)
    if (known !== undefined) return (this.#last = known)
    this.#last = texts.push(text) - 1
    if (this.#last >= FEW) this.#known().set(text, this.#last)
    return this.#last
  }

  #known(): Map<string, number> {
    return (this.#more ??= new Map(this.texts.slice(FEW).map((text, index) => [text, FEW + index])))
  }

  /** These rows, in this order, as a column of its own. */
  pick(rows: readonly number[]): TextColumn {
    const indexes = Uint32Array.from(rows, (row) => this.indexes[row] ?? 0)
    const picked = new TextColumn(rows.length, this.texts.slice(), indexes)
    if (this.#more !== undefined) picked.#known()
    return picked
  }
}

/** Where an IdColumn is written to. */
export interface IdSink {
  /** False, and nothing is written, for bytes that are not ASCII. */
  addAscii(source: DataView, start: number, size: number): boolean
  addText(text: string): void
}

const NO_BYTES = Buffer.alloc(0)

/**
 * A text per row that is another one almost each time (ids): where its UTF-8 lies in the batch, decoded only when it is
 * asked for. Strings that live as long as their batch cost the collector more than decoding cost itself (measured).
 */
export class IdColumn {
  readonly #bytes: Buffer
  readonly #starts: Int32Array
  /** −1: a text of its own, at `starts` in `#texts`. */
  readonly #sizes: Int32Array
  readonly #texts: string[]

  constructor(
    rows: number,
    bytes: Buffer = NO_BYTES,
    texts: string[] = [],
    starts: Int32Array = new Int32Array(rows),
    sizes: Int32Array = new Int32Array(rows),
  ) {
    this.#bytes = bytes
    this.#texts = texts
    this.#starts = starts
    this.#sizes = sizes
  }

  /** '' for a row that there is not. */
  at(row: number): string {
    const size = this.#sizes[row] ?? 0
    const start = this.#starts[row] ?? 0
    if (size === 0) return ''
    return size < 0 ? (this.#texts[start] ?? '') : this.#bytes.toString('utf8', start, start + size)
  }

  set(row: number, text: string): void {
    this.#starts[row] = text === '' ? 0 : this.#texts.push(text) - 1
    this.#sizes[row] = text === '' ? 0 : -1
  }

  /** The text lies in the column's bytes. */
  place(row: number, start: number, size: number): void {
    this.#starts[row] = start
    this.#sizes[row] = size
  }

  isEmpty(row: number): boolean {
    return (this.#sizes[row] ?? 0) === 0
  }

  /** The texts of the rows. What is no ASCII goes by way of a string, which replaces what is no UTF-8. */
  copyTo(out: IdSink, rows: Int32Array): void {
    const bytes = this.#bytes
    const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
    for (let i = 0; i < rows.length; i++) {
      const row = rows[i]!
      const start = this.#starts[row]!
      const size = this.#sizes[row]!
      if (size < 0 || !out.addAscii(view, start, size)) out.addText(this.at(row))
    }
  }

  /** These rows, in this order, as a column of its own. */
  pick(rows: readonly number[]): IdColumn {
    const starts = Int32Array.from(rows, (row) => this.#starts[row] ?? 0)
    const sizes = Int32Array.from(rows, (row) => this.#sizes[row] ?? 0)
    return new IdColumn(rows.length, this.#bytes, this.#texts.slice(), starts, sizes)
  }
}
