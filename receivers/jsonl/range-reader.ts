import { createHash, type Hash } from 'node:crypto'
import { BYTE_NEWLINE, lastLineEnd, lineEnd, type Newline } from './lines.ts'
import type { Source } from './source.ts'

/** What stands at a position of a file. */
export type Next =
  /** Whole lines. `bytes` is valid until the next call. */
  | { readonly what: 'lines'; readonly bytes: Buffer }
  /** A line over the limit, with its newline where it has one; its bytes were not kept. */
  | { readonly what: 'too_long'; readonly length: number; readonly sha256: string; readonly last: Buffer }
  /** The file's end, within a line. */
  | { readonly what: 'rest'; readonly bytes: Buffer }
  | { readonly what: 'end' }

/** A line longer than the limit that has not ended yet: what was hashed of it. */
interface Skip {
  readonly from: number
  length: number
  readonly hash: Hash
  last: Buffer
}

/** Buffers of one size that turns take from and give back to, so that idle files hold none. */
export class BufferPool {
  readonly #size: number
  readonly #free: Buffer[] = []

  constructor(size: number) {
    this.#size = size & ~1
  }

  take(): Buffer {
    return this.#free.pop() ?? Buffer.allocUnsafeSlow(this.#size)
  }

  give(buffer: Buffer): void {
    if (buffer.length === this.#size && this.#free.length < KEPT) this.#free.push(buffer)
  }
}

const KEPT = 8

/** Cuts a file into ranges of whole lines that fit one buffer. */
export class RangeReader {
  readonly #source: Source
  readonly #maxLine: number
  readonly #newline: Newline
  readonly #pool: BufferPool
  #held: Buffer | undefined
  #skip: Skip | undefined

  constructor(source: Source, pool: BufferPool, maxLine: number, newline: Newline = BYTE_NEWLINE) {
    this.#source = source
    this.#pool = pool
    this.#maxLine = maxLine
    this.#newline = newline
  }

  /** Gives the memory back until the next call. */
  release(): void {
    if (this.#held !== undefined) this.#pool.give(this.#held)
    this.#held = undefined
  }

  get #buffer(): Buffer {
    return (this.#held ??= this.#pool.take())
  }

  #grow(size: number): void {
    this.release()
    this.#held = Buffer.allocUnsafeSlow(size)
  }

  /** The range `[position, position + length)` as it was once cut; undefined when the file has fewer bytes. */
  async exactly(position: number, length: number): Promise<Buffer | undefined> {
    if (this.#buffer.length < length) this.#grow(length)
    const into = this.#buffer.subarray(0, length)
    return (await this.#source.read(position, into)) === length ? into : undefined
  }

  /** `final`: nothing more will come, so that a long line ends where the file does. */
  async next(position: number, final: boolean): Promise<Next> {
    if (this.#skip?.from === position) return this.#skipOn(this.#skip, final)
    const filled = await this.#source.read(position, this.#buffer)
    if (filled === 0) return { what: 'end' }
    const end = lastLineEnd(this.#buffer, 0, filled, this.#newline)
    if (end > 0) return { what: 'lines', bytes: this.#buffer.subarray(0, end) }
    if (filled <= this.#maxLine && filled < this.#buffer.length) {
      return { what: 'rest', bytes: this.#buffer.subarray(0, filled) }
    }
    if (this.#buffer.length <= this.#maxLine + 2) {
      this.#grow((this.#maxLine + 4) & ~1)
      return this.next(position, final)
    }
    this.#skip = { from: position, length: 0, hash: createHash('sha256'), last: Buffer.alloc(0) }
    return this.#skipOn(this.#skip, final)
  }

  /** Reads on to the newline, keeping no more than what proves the place (`last`). */
  async #skipOn(skip: Skip, final: boolean): Promise<Next> {
    for (;;) {
      const filled = await this.#source.read(skip.from + skip.length, this.#buffer)
      const whole = filled - (filled % this.#newline.width)
      const end = lineEnd(this.#buffer, 0, whole, this.#newline)
      const taken = this.#buffer.subarray(0, end < 0 ? whole : end)
      skip.hash.update(taken)
      skip.length += taken.length
      skip.last = Buffer.concat([skip.last, taken.subarray(-LAST)]).subarray(-LAST)
      if (end < 0 && taken.length > 0) continue
      if (end < 0 && !final) return { what: 'end' }
      this.#skip = undefined
      const { length, last } = skip
      return { what: 'too_long', length, last, sha256: skip.hash.digest('hex') }
    }
  }
}

const LAST = 256
