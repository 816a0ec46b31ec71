import { FACTOR, hasAll, hashOf, Lexicon, maskOf } from './lexicon.ts'

/** What else a scan met: marks of text that may be hidden from it. */
export const MARK = {
  /** Bytes beyond ASCII. */
  foreign: 1,
  /** A run of letters and digits as only encodings have it. */
  run: 2,
  /** `%41`, `&#65;`, `\u0041`, `\x41`, or what begins like them. */
  escape: 4,
  /** Two words with a digit before a letter: `1gn0re pr0mpts`. */
  leet: 8,
  /** Six words of one letter in a row: `i g n o r e`. */
  spelled: 16,
  /** `](` or `<img`: an image or link of Markdown or HTML. */
  link: 32,
  /** Words of attacks by rot13, or backwards. */
  veiled: 64,
} as const

const RUN = 20
const SPELLED = 6
const LEET = 2

/** What a byte is, in one look: its code in lower case, and what else the scan must know of it. */
const CODE = 0xff
const LETTER = 1 << 8
const DIGIT = 1 << 9
/** In a word or part of it: letters, digits. */
const WORDLY = LETTER | DIGIT
/** Ends a sentence. */
const STOP = 1 << 10
/** Needs a closer look: what escapes and links begin with. */
const ODD = 1 << 11
const FOREIGN = 1 << 12
/** Left out of a word: `don't`. */
const SILENT = 1 << 13

const BYTES = new Int32Array(256)
for (let code = 0; code < 256; code++) {
  const char = String.fromCharCode(code)
  if (/[a-z]/i.test(char)) BYTES[code] = code | 32 | LETTER
  else if (/[0-9]/.test(char)) BYTES[code] = code | DIGIT
  else if (char === "'") BYTES[code] = SILENT
  else if (/[.!?:;\n\r"()[\]{}*#>|]/.test(char)) BYTES[code] = STOP
  if (/[\\%&\]<]/.test(char)) BYTES[code]! |= ODD
  if (code > 127) BYTES[code] = FOREIGN
}
const BACKSLASH = 92
const CLOSING = 93
const LESS = 60
const PLEASE = hashOf('please')
const SENTENCE = 1
const POLITE = 2
const FIRST_CAPACITY = 256

/**
 * The words of one text that mean something, with their places: reused from text to text. A scan is one pass over the
 * bytes of UTF-8, some nanoseconds per byte.
 */
export class Words {
  readonly lexicon = new Lexicon()
  readonly #veiled: number
  /** Of each word that the lexicon has: its number in the text, and its kind. */
  at = new Int32Array(FIRST_CAPACITY)
  kind = new Int16Array(FIRST_CAPACITY)
  count = 0
  /** MARK bits met. */
  marks = 0
  #number = 0
  #starts = 0
  #singles = 0
  #mixed = 0

  constructor() {
    const veiled = maskOf(['veiled'])
    this.#veiled = this.lexicon.kinds.findIndex((kind) => hasAll(kind, veiled))
  }

  scan(bytes: Uint8Array, from: number, end: number): void {
    const table = BYTES
    this.count = this.#number = this.#singles = this.#mixed = 0
    this.#starts = SENTENCE
    let marks = 0
    let seen = 0
    let hash = 0
    let first = from
    let inWord = 0
    // One step past the end closes the last word.
    for (let i = from; i <= end; i++) {
      const byte = i < end ? table[bytes[i]!]! : STOP
      if ((byte & WORDLY) !== 0) {
        if (hash === 0) first = i
        hash = (Math.imul(hash, FACTOR) + (byte & CODE)) | 0
        inWord |= byte
        continue
      }
      if (byte === SILENT) continue
      seen |= byte
      if (hash !== 0) {
        if ((inWord & WORDLY) === WORDLY && isLeet(bytes, first, i)) marks |= this.#leet()
        marks |= this.#end(hash, i - first)
        hash = inWord = 0
      }
      if ((byte & (STOP | ODD)) === 0) continue
      if ((byte & STOP) !== 0) this.#starts = SENTENCE
      if ((byte & ODD) === 0) continue
      marks |= markOf(bytes, i)
      // An escape of JSON: its letter belongs to no word.
      if (bytes[i] === BACKSLASH) {
        i++
        this.#starts = SENTENCE
      }
    }
    this.marks = (seen & FOREIGN) === 0 ? marks : marks | MARK.foreign
  }

  #leet(): number {
    return ++this.#mixed === LEET ? MARK.leet : 0
  }

  #end(hash: number, length: number): number {
    const starts = this.#starts
    const number = this.#number++
    this.#starts = starts !== 0 && hash === PLEASE ? POLITE : 0
    let marks = length >= RUN ? MARK.run : 0
    this.#singles = length === 1 ? this.#singles + 1 : 0
    if (this.#singles === SPELLED) marks |= MARK.spelled
    const kind = this.lexicon.kindOf(hash)
    if (kind < 0) return marks
    if (this.count === this.at.length) this.#grow()
    this.at[this.count] = number
    this.kind[this.count++] = starts === 0 ? kind : kind + this.lexicon.plain
    return kind === this.#veiled ? marks | MARK.veiled : marks
  }

  #grow(): void {
    const { at, kind } = this
    this.at = new Int32Array(at.length * 2)
    this.at.set(at)
    this.kind = new Int16Array(kind.length * 2)
    this.kind.set(kind)
  }
}

/** A digit stands before a letter. */
function isLeet(bytes: Uint8Array, from: number, end: number): boolean {
  for (let i = from + 1; i < end; i++)
    if ((BYTES[bytes[i]!]! & LETTER) !== 0 && (BYTES[bytes[i - 1]!]! & DIGIT) !== 0) return true
  return false
}

/** What begins at a byte that is odd: `\u`, `\x`, `](`, `<i`, `%4`, `&#`, `&a`. */
function markOf(bytes: Uint8Array, at: number): number {
  const next = bytes[at + 1] ?? 0
  const byte = bytes[at]
  if (byte === BACKSLASH) return next === 117 || next === 120 ? MARK.escape : 0
  if (byte === CLOSING) return next === 40 ? MARK.link : 0
  if (byte === LESS) return (next | 32) === 105 ? MARK.link : 0
  return next === 35 || (BYTES[next]! & WORDLY) !== 0 ? MARK.escape : 0
}
