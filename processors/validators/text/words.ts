import { hashOf, Lexicon, maskOf } from './lexicon.ts'

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
} as const

const RUN = 20
const SPELLED = 6

/** Class of a byte: 0 ends a word, 1 ends a sentence, 2 is in a word, 3 is left out of it (`don't`), 4 is a digit. */
const CLASS = new Uint8Array(256)
const FOLDED = new Uint8Array(256)
const MARKS = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  const char = String.fromCharCode(code)
  if (/[a-z]/i.test(char)) CLASS[code] = 2
  else if (/[0-9]/.test(char)) CLASS[code] = 4
  else if (char === "'") CLASS[code] = 3
  else if (/[.!?:;\n\r"()[\]{}*#>|,]/.test(char)) CLASS[code] = 1
  FOLDED[code] = /[A-Z]/.test(char) ? code | 32 : code
  MARKS[code] = code > 127 ? MARK.foreign : 0
}
/** Taken into locals by the loop: the engine reads a module's variables anew each time. */
const TABLES = [CLASS, FOLDED, MARKS] as const
const BACKSLASH = 92
const AMPERSAND = 38
const PERCENT = 37
const COMMA = 44
const PLEASE = hashOf('please')
const START = maskOf(['start'])
const SENTENCE = 1
const POLITE = 2
const FIRST_CAPACITY = 256

/**
 * The words of one text that mean something, with their places: reused from text to text. A scan is one pass over the
 * bytes of UTF-8, about a nanosecond each.
 */
export class Words {
  readonly #lexicon = new Lexicon()
  /** Of each word that the lexicon has: its number in the text, and its concepts. */
  at = new Int32Array(FIRST_CAPACITY)
  low = new Int32Array(FIRST_CAPACITY)
  high = new Int32Array(FIRST_CAPACITY)
  count = 0
  /** Concepts met. */
  seenLow = 0
  seenHigh = 0
  /** MARK bits met. */
  marks = 0
  #number = 0
  #start: number = SENTENCE
  #singles = 0
  #mixed = 0

  scan(bytes: Uint8Array, from: number, end: number): void {
    const [classes, folded, marks] = TABLES
    this.count = this.seenLow = this.seenHigh = this.#number = this.#singles = this.#mixed = 0
    this.#start = SENTENCE
    let met = 0
    let hash = 0
    let first = from
    let digits = 0
    for (let i = from; i < end; i++) {
      const byte = bytes[i]!
      const kind = classes[byte]!
      met |= marks[byte]!
      if (kind >= 2) {
        if (kind === 3) continue
        if (hash === 0) first = i
        hash = (Math.imul(hash, 0x01000193) + folded[byte]!) | 0
        if (kind === 4) digits |= 1
        else if (digits === 1) digits = 3
        continue
      }
      if (hash !== 0) {
        met |= this.#end(hash, i - first, digits)
        hash = digits = 0
      }
      if (kind === 1 && byte !== COMMA) this.#start = SENTENCE
      if (byte === BACKSLASH) {
        // An escape of JSON: its letter belongs to no word.
        const escaped = bytes[++i]!
        if (escaped === 117 || escaped === 120) met |= MARK.escape
        this.#start = SENTENCE
      } else if (byte === PERCENT || byte === AMPERSAND) {
        const next = bytes[i + 1]!
        if (next === 35 || classes[next]! >= 2) met |= MARK.escape
      }
    }
    if (hash !== 0) met |= this.#end(hash, end - first, digits)
    this.marks = met
  }

  #end(hash: number, length: number, digits: number): number {
    const number = this.#number++
    const starts = this.#start
    this.#start = starts !== 0 && hash === PLEASE ? POLITE : 0
    let met = length >= RUN ? MARK.run : 0
    if (length === 1) {
      if (++this.#singles >= SPELLED) met |= MARK.spelled
    } else this.#singles = 0
    if (digits === 3 && ++this.#mixed === 2) met |= MARK.leet
    const slot = this.#lexicon.slotOf(hash)
    if (slot >= 0) this.#add(number, slot, starts)
    return met
  }

  #add(number: number, slot: number, starts: number): void {
    const index = this.count++
    if (index === this.at.length) this.#grow()
    const low = this.#lexicon.low[slot]! | (starts === 0 ? 0 : START.low)
    const high = this.#lexicon.high[slot]! | (starts === 0 ? 0 : START.high)
    this.at[index] = number
    this.low[index] = low
    this.high[index] = high
    this.seenLow |= low
    this.seenHigh |= high
  }

  #grow(): void {
    this.at = doubled(this.at)
    this.low = doubled(this.low)
    this.high = doubled(this.high)
  }
}

function doubled(from: Int32Array<ArrayBuffer>): Int32Array<ArrayBuffer> {
  const to = new Int32Array(from.length * 2)
  to.set(from)
  return to
}
