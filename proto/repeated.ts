/** Values up to this many bytes are remembered; longer ones hardly ever repeat. */
const LONGEST = 64
const SLOTS = 1024

/**
 * UTF-8 → JS string for values of few kinds (models, providers, operations): one that was met before is found by its
 * bytes and costs no decoding, and is the very same string, so that comparing and hashing it is cheap as well. Two slots
 * per hash, the newest values stay: values of many kinds cost a little more than decoding them, and no memory.
 */
export class Repeated {
  readonly #bytes: Uint8Array = new Uint8Array(SLOTS * LONGEST)
  readonly #view = new DataView(this.#bytes.buffer)
  readonly #sizes: Uint8Array = new Uint8Array(SLOTS)
  readonly #texts: (string | undefined)[] = Array<string | undefined>(SLOTS).fill(undefined)
  readonly #serials: Float64Array = new Float64Array(SLOTS)
  #given = 0

  text(source: Buffer, start: number, size: number): string {
    if (size === 0) return ''
    if (size > LONGEST) return source.toString('utf8', start, start + size)
    const slot = this.#find(source, start, size)
    return (this.#texts[slot] ??= source.toString('utf8', start, start + size))
  }

  /** Stands for these bytes, whatever they are, and never for others; forgotten bytes get a new one. 0: too long for one. */
  serial(source: Uint8Array, start: number, size: number): number {
    return size > LONGEST ? 0 : this.#serials[this.#find(source, start, size)]!
  }

  /** The slot that holds the bytes from now on. */
  #find(source: Uint8Array, start: number, size: number): number {
    const slot = hash(source, start, size)
    if (this.#holds(slot, source, start, size)) return slot
    const other = slot ^ 1
    if (this.#holds(other, source, start, size)) return other
    this.#move(slot, other)
    const at = slot * LONGEST
    for (let i = 0; i < size; i++) this.#bytes[at + i] = source[start + i]!
    this.#sizes[slot] = size
    this.#texts[slot] = undefined
    this.#serials[slot] = ++this.#given
    return slot
  }

  /** Four bytes at a time; the last four overlap those before. */
  #holds(slot: number, source: Uint8Array, start: number, size: number): boolean {
    if (this.#sizes[slot] !== size || this.#serials[slot] === 0) return false
    const bytes = this.#bytes
    const at = slot * LONGEST
    if (size < 4) {
      for (let i = 0; i < size; i++) if (bytes[at + i] !== source[start + i]) return false
      return true
    }
    const mine = this.#view
    const theirs = viewOf(source)
    for (let i = 0; i < size - 4; i += 4)
      if (mine.getInt32(at + i) !== theirs.getInt32(start + i)) return false
    return mine.getInt32(at + size - 4) === theirs.getInt32(start + size - 4)
  }

  #move(from: number, to: number): void {
    this.#bytes.copyWithin(to * LONGEST, from * LONGEST, (from + 1) * LONGEST)
    this.#sizes[to] = this.#sizes[from]!
    this.#texts[to] = this.#texts[from]
    this.#serials[to] = this.#serials[from]!
  }
}

/** The values of a request follow one another: its view is made once. */
function viewOf(source: Uint8Array): DataView {
  if (source === lastSource) return lastView
  lastSource = source
  lastView = new DataView(source.buffer, source.byteOffset, source.byteLength)
  return lastView
}
let lastSource: Uint8Array = new Uint8Array(0)
let lastView: DataView = new DataView(lastSource.buffer)

/**
 * The size and the first, middle and last four bytes, folded to a slot: where names of one kind differ. Those that meet in a
 * slot for being alike elsewhere are told apart by their bytes.
 */
function hash(source: Uint8Array, start: number, size: number): number {
  let h = size
  if (size < 4) for (let i = start; i < start + size; i++) h = Math.imul(h ^ source[i]!, 0x01000193)
  else {
    h = Math.imul(h ^ wordAt(source, start), 0x85ebca6b)
    h = Math.imul(h ^ (h >>> 15) ^ wordAt(source, start + ((size - 4) >> 1)), 0xc2b2ae35)
    h = Math.imul(h ^ (h >>> 13) ^ wordAt(source, start + size - 4), 0x85ebca6b)
  }
  return (h ^ (h >>> 15)) & (SLOTS - 1)
}

function wordAt(source: Uint8Array, at: number): number {
  return source[at]! | (source[at + 1]! << 8) | (source[at + 2]! << 16) | (source[at + 3]! << 24)
}
