import {
  FOUR,
  scanners,
  START,
  THRESHOLDS,
  WORD_SHIFT,
  type ByteScanner,
  type ScanTables,
} from './byte-scanner.ts'
import { Keywords } from './keywords.ts'

/**
 * The prefilter: one pass over the bytes (or characters) of a value says which detectors could find something. It may
 * say too much, never too little. Per byte five table look-ups and no branch: three counters live in one integer
 * (runs of digits and their separators, colons and dashes among hex digits, runs of base64 characters), each with a bit that
 * its threshold sets; and the last four characters, five bits each, index a bitmap of the keywords' rarest fours.
 */
export const FEATURE = {
  /** Six digits or dots in a run of digits and separators. */
  digits: 1 << 3,
  /** Two colons or five dashes among hex digits: MAC, IPv6. */
  colons: 1 << 11,
  /** Sixteen base64 characters in a row. */
  run: 1 << 20,
  at: 1 << 28,
  /** A keyword may be in it. */
  word: 1 << WORD_SHIFT,
  /** Escapes that may hide any of the above: `%40`, `\u0040`, a character beyond ASCII that is folded to it. */
  escape: 1 << 26,
} as const

/** Class of a character in a four: letters 1..26 in any case, digits 27, `_` 28, `-` 29, `.` 30, `~ @ % \ =` 31, others 0. */
const CLASS = new Uint8Array(256)
const KEEP = new Int32Array(256)
const ADD = new Int32Array(256)

for (let code = 0; code < 256; code++) {
  const char = String.fromCharCode(code)
  const isDigit = /\d/.test(char)
  if (/[a-z]/i.test(char)) CLASS[code] = (code | 32) - 96
  else if (isDigit) CLASS[code] = 27
  else if (char === '_') CLASS[code] = 28
  else if (char === '-') CLASS[code] = 29
  else if (char === '.') CLASS[code] = 30
  else if (/[~@%\\=]/.test(char)) CLASS[code] = 31
  // Counters start so that the threshold sets one bit: digits at 2 (+6 = 8), colons at 3 << 8 (+5 = 8 << 8), runs at 0.
  const inDigits = isDigit || /[ ().+/\-\u00a0\u00c2]/.test(char)
  const inColons = /[0-9a-f:-]/i.test(char)
  const inRun = /[A-Za-z0-9+/_-]/.test(char)
  KEEP[code] = (inDigits ? 0xff : 0) | (inColons ? 0xff00 : 0) | (inRun ? 0xffff0000 : 0)
  ADD[code] =
    (inDigits ? (isDigit || char === '.' ? 1 : 0) : 2) |
    ((inColons ? (char === ':' ? 3 : char === '-' ? 1 : 0) : 3) << 8) |
    ((inRun ? 1 : 0) << 16) |
    // In the runs' counter, beyond any run of less than 4096; what follows an `@` may count on from it.
    (char === '@' ? FEATURE.at : 0)
}
const ESCAPES = ['%40', '%3a', '\\u00', '%2f%2f']
const ESCAPED = /%40|%3a|%2f%2f|\\u00/i

/** A class's five bits. */
const MASK = 31

export interface TextFeatures {
  readonly bits: number
  /** Indexes into `words.words`. */
  readonly words: readonly number[]
}

const NO_WORDS: readonly number[] = []

export class Features {
  readonly words: Keywords
  readonly tables: ScanTables
  /** Gives a scanner over the bytes, good until the next one is asked for. */
  readonly over: (bytes: Uint8Array) => ByteScanner
  /** One bit per four characters. */
  readonly #bits: Uint8Array = new Uint8Array(1 << 17)

  readonly #confirmed: ReadonlyMap<number, RegExp>

  /** `words` in lower case, ASCII, two characters or more. `confirmed`: words that count only where the pattern matches too. */
  constructor(words: readonly string[], confirmed: ReadonlyMap<string, RegExp> = new Map()) {
    this.words = new Keywords(words)
    const patterns = this.words.words.map((word, index) => [index, confirmed.get(word)] as const)
    this.#confirmed = new Map(patterns.filter((entry): entry is [number, RegExp] => entry[1] !== undefined))
    for (const word of [...words, ...ESCAPES]) this.#mark(word)
    this.tables = { classes: CLASS, keep: KEEP, add: ADD, fours: this.#bits }
    this.over = scanners(this.tables)
  }

  /** The features of a string; here `word` and `escape` are exact, and say which. */
  ofText(text: string): TextFeatures {
    const bits = this.#bits
    // In locals: the engine reads a module's variables anew each time.
    const [classes, keep, add] = [CLASS, KEEP, ADD]
    let counters = START
    let seen = 0
    let four = 0
    let hit = 0
    for (let i = 0; i < text.length; i++) {
      const code = text.charCodeAt(i)
      const byte = code < 256 ? code : 0
      four = ((four << 5) | classes[byte]!) & FOUR
      hit |= bits[four >>> 3]! >>> (four & 7)
      counters = ((counters & keep[byte]!) + add[byte]!) | 0
      seen |= counters
    }
    const found = seen & THRESHOLDS
    if ((hit & 1) === 0) return { bits: found, words: NO_WORDS }
    const words = this.#scan(text)
    const escape = ESCAPED.test(text) ? FEATURE.escape : 0
    return { bits: found | escape | (words.length > 0 ? FEATURE.word : 0), words }
  }

  #scan(text: string): readonly number[] {
    const words = this.words.scan(text)
    if (!words.some((word) => this.#confirmed.has(word))) return words
    return words.filter((word) => this.#confirmed.get(word)?.test(text) !== false)
  }

  #mark(word: string): void {
    const classes = Array.from(word, (char) => CLASS[char.charCodeAt(0)]!)
    if (classes.length >= 4) return this.#mark4(rarest(classes))
    let fours = classes.length === 2 ? pairs() : Array.from({ length: 32 }, (_, before) => [before])
    fours = fours.map((before) => [...before, ...classes])
    for (const four of fours) this.#mark4(four)
  }

  #mark4(four: readonly number[]): void {
    const index = four.reduce((sum, kind) => (sum << 5) | kind, 0)
    this.#bits[index >>> 3]! |= 1 << (index & 7)
  }
}

function pairs(): number[][] {
  return Array.from({ length: 1024 }, (_, index) => [index >>> 5, index & MASK])
}

/** Fours that ordinary text is full of. */
const COMMON = new Set(
  (
    'about above across after again against agent answer application apply around assistant available because before ' +
    'between business button called cannot change check children class clear client close company complete consider ' +
    'contact content context continue control could country course create current customer data date describe detail ' +
    'different document does down during each email error even every example explain explanation family feature field ' +
    'find first follow following found function general give good government great group hand hear help high hold home ' +
    'however human identify image important include including increase information input instruction interest issue ' +
    'know large last later lead learn leave letter level like line list little local long look made make manage many ' +
    'market matter member mention message method might model money month more most move much name national need never ' +
    'next night number object often open order other output over page parameter part people person place plan plane play ' +
    'please point policy possible power present president problem process produce product program project prompt ' +
    'provide public purchase question read really reason reasoning receive refund regard remember report request ' +
    'require research response result return right room rule school search second section seem sentence service several ' +
    'should show side simple since small social some space special start state statement status step still story street ' +
    'string student study support system take talk task team tell term than that their them then there these thing ' +
    'think this those though thought three through time today together tool toward travel type under understand until ' +
    'update user using value various very want water week well were what when where which while will with within without ' +
    'woman word work world would write year young your asked asking assist carefully description expected final given'
  )
    .split(' ')
    .flatMap((word) => {
      const classes = Array.from(` ${word} `, (char) => CLASS[char.charCodeAt(0)]!)
      return classes.slice(3).map((_, index) => classes.slice(index, index + 4).join())
    }),
)

/** Of a word's fours the one whose letters are least common in English. */
function rarest(classes: readonly number[]): readonly number[] {
  const letters = ' etaoinshrdlcumwfgypbvkjxqz'
  // Digits are one class, and so tell little.
  const others = [0, 2, 14, 10, 8, 16]
  let best = classes.slice(0, 4)
  let bestScore = -1
  for (let i = 0; i + 4 <= classes.length; i++) {
    const four = classes.slice(i, i + 4)
    const score =
      four.reduce(
        (sum, kind) =>
          sum +
          (kind >= 1 && kind <= 26
            ? letters.indexOf(String.fromCharCode(96 + kind))
            : others[Math.max(0, kind - 26)]!),
        0,
      ) - (COMMON.has(four.join()) ? 100 : 0)
    if (score > bestScore) {
      best = four
      bestScore = score
    }
  }
  return best
}
