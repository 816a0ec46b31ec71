/** Values up to this many bytes are remembered; longer ones hardly ever repeat. */
const LONGEST = 64
const SLOTS = 1024

/**
 * UTF-8 → JS string for values of few kinds (models, providers, operations): one that was met before is found by its
 * bytes and costs no decoding, and is the very same string, so that comparing and hashing it is cheap as well. One slot
 * per hash, the newest value stays: values of many kinds cost a little more than decoding them, and no memory.
 */
export class Repeated {
  readonly #bytes: Uint8Array = new Uint8Array(SLOTS * LONGEST)
  readonly #sizes: Uint8Array = new Uint8Array(SLOTS)
  readonly #texts: string[] = Array<string>(SLOTS).fill('')

  text(source: Buffer, start: number, size: number): string {
    if (size === 0) return ''
    if (size > LONGEST) return source.toString('utf8', start, start + size)
    const slot = hash(source, start, size)
    const at = slot * LONGEST
    const bytes = this.#bytes
    let same = this.#sizes[slot] === size
    for (let i = 0; same && i < size; i++) same = bytes[at + i] === source[start + i]
    if (same) return this.#texts[slot]!
    const text = source.toString('utf8', start, start + size)
    for (let i = 0; i < size; i++) bytes[at + i] = source[start + i]!
    this.#sizes[slot] = size
    this.#texts[slot] = text
    return text
  }
}

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
