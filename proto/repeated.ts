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

/** FNV-1a over the bytes, folded to a slot. */
function hash(source: Uint8Array, start: number, size: number): number {
  let h = 0x811c9dc5
  for (let i = start; i < start + size; i++) h = Math.imul(h ^ source[i]!, 0x01000193)
  return (h ^ (h >>> 15)) & (SLOTS - 1)
}
