import { hashOf, isSame, viewOf } from './short-bytes.ts'

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

  text(source: Buffer, start: number, size: number): string {
    if (size === 0) return ''
    if (size > LONGEST) return source.toString('utf8', start, start + size)
    const view = viewOf(source)
    const slot = hashOf(view, start, size) & (SLOTS - 1)
    return (
      this.#held(slot, view, start, size) ??
      this.#held(slot ^ 1, view, start, size) ??
      this.#keep(slot, source, start, size)
    )
  }

  #held(slot: number, source: DataView, start: number, size: number): string | undefined {
    const isHeld = this.#sizes[slot] === size && isSame(this.#view, slot * LONGEST, source, start, size)
    return isHeld ? this.#texts[slot] : undefined
  }

  #keep(slot: number, source: Buffer, start: number, size: number): string {
    this.#move(slot, slot ^ 1)
    this.#bytes.set(source.subarray(start, start + size), slot * LONGEST)
    this.#sizes[slot] = size
    return (this.#texts[slot] = source.toString('utf8', start, start + size))
  }

  #move(from: number, to: number): void {
    this.#bytes.copyWithin(to * LONGEST, from * LONGEST, (from + 1) * LONGEST)
    this.#sizes[to] = this.#sizes[from]!
    this.#texts[to] = this.#texts[from]
  }
}
