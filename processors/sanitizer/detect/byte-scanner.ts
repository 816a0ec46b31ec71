import { readFileSync } from 'node:fs'

/**
 * The prefilter's inner loops over bytes: in WebAssembly, which has neither bounds checks nor boxed numbers (a third of
 * the time), and in TypeScript for what does not fit, and for machines without SIMD.
 */

/** The tables that the loops run by: see features.ts. */
export interface ScanTables {
  /** Class of each byte in a four, 256. */
  readonly classes: Uint8Array
  /** What a byte leaves of the counters, and what it adds to them, 256 each. */
  readonly keep: Int32Array
  readonly add: Int32Array
  /** One bit per four characters, 2 ** 17 bytes. */
  readonly fours: Uint8Array
}

export interface ByteScanner {
  /** FEATURE bits of `bytes[start, end)`. `word` is only a suspicion here. */
  features(start: number, end: number): number
  /** Where the first digit of `bytes[start, end)` stands; `end` without one. */
  digit(start: number, end: number): number
}

/** The counters before the first byte, the bits that their thresholds set, and where a suspected word is told. */
export const START = 2 | (3 << 8)
export const THRESHOLDS = 0x1010_0808
export const WORD_SHIFT = 25
/** A class's five bits, four times. */
export const FOUR = 0xfffff

export class PlainScanner implements ByteScanner {
  readonly #tables: ScanTables
  #bytes: Uint8Array = new Uint8Array(0)

  constructor(tables: ScanTables) {
    this.#tables = tables
  }

  over(bytes: Uint8Array): ByteScanner {
    this.#bytes = bytes
    return this
  }

  features(start: number, end: number): number {
    const { classes, keep, add, fours } = this.#tables
    const bytes = this.#bytes
    let counters = START
    let seen = 0
    let four = 0
    let hit = 0
    for (let i = start; i < end; i++) {
      const byte = bytes[i]!
      four = ((four << 5) | classes[byte]!) & FOUR
      hit |= fours[four >>> 3]! >>> (four & 7)
      counters = ((counters & keep[byte]!) + add[byte]!) | 0
      seen |= counters
    }
    return (seen & THRESHOLDS) | ((hit & 1) << WORD_SHIFT)
  }

  digit(start: number, end: number): number {
    let at = start
    while (at < end && !(this.#bytes[at]! >= 48 && this.#bytes[at]! <= 57)) at++
    return at
  }
}

/** Where scan.wat has its tables, and the text. */
const PAIRS_AT = 256
const FOURS_AT = 4096
const TEXT_AT = FOURS_AT + (1 << 17)
const PAGE = 65_536
/** `digit` reads up to this many bytes more. */
const BEYOND = 16

interface Loops {
  readonly memory: WebAssembly.Memory
  features(at: number, end: number): number
  digit(at: number, end: number): number
}

export class WasmScanner implements ByteScanner {
  /** Larger texts are not copied: the memory of a module never shrinks. */
  static readonly MOST = 8 * 1024 * 1024
  readonly #loops: Loops
  #memory: Uint8Array

  /** Throws where WebAssembly, or its SIMD, is missing. */
  constructor({ classes, keep, add, fours }: ScanTables) {
    const module = new WebAssembly.Module(readFileSync(new URL('./scan.wasm', import.meta.url)))
    this.#loops = new WebAssembly.Instance(module).exports as unknown as Loops
    const { memory } = this.#loops
    this.#memory = new Uint8Array(memory.buffer)
    this.#memory.set(classes)
    const pairs = new DataView(memory.buffer, PAIRS_AT)
    for (let byte = 0; byte < 256; byte++) {
      pairs.setInt32(byte * 8, keep[byte]!, true)
      pairs.setInt32(byte * 8 + 4, add[byte]!, true)
    }
    this.#memory.set(fours, FOURS_AT)
  }

  over(bytes: Uint8Array): ByteScanner {
    const missing = TEXT_AT + bytes.length + BEYOND - this.#memory.length
    if (missing > 0) {
      this.#loops.memory.grow(Math.ceil(missing / PAGE))
      this.#memory = new Uint8Array(this.#loops.memory.buffer)
    }
    this.#memory.set(bytes, TEXT_AT)
    return this
  }

  features(start: number, end: number): number {
    return this.#loops.features(TEXT_AT + start, TEXT_AT + end)
  }

  digit(start: number, end: number): number {
    return this.#loops.digit(TEXT_AT + start, TEXT_AT + end) - TEXT_AT
  }
}

/** Gives a scanner over a text, good until the next one is asked for. */
export function scanners(tables: ScanTables): (bytes: Uint8Array) => ByteScanner {
  const plain = new PlainScanner(tables)
  const wasm = wasmOrNone(tables)
  return (bytes) =>
    wasm === undefined || bytes.length > WasmScanner.MOST ? plain.over(bytes) : wasm.over(bytes)
}

function wasmOrNone(tables: ScanTables): WasmScanner | undefined {
  try {
    return new WasmScanner(tables)
  } catch (error) {
    if (error instanceof WebAssembly.CompileError || error instanceof ReferenceError) return undefined
    throw error
  }
}
