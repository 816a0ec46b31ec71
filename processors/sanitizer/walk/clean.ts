import type { ByteScanner } from '../detect/byte-scanner.ts'

/** Cheap proofs that what the prefilter saw is nothing: ids in hex, counts, values that were looked at before. */

const RUN = 16

/**
 * True when every run of 16 base64 characters is hex in lower case or of small letters only: an id or a word, in which no
 * token, address or text is written.
 */
export function hasDullRuns(bytes: Uint8Array, start: number, end: number): boolean {
  const kinds = KINDS
  let length = 0
  let seen = 0
  for (let i = start; i < end; i++) {
    const kind = kinds[bytes[i]!]!
    if (kind === OUTSIDE) {
      length = seen = 0
      continue
    }
    seen |= kind
    if (++length >= RUN && (seen & NEITHER) === NEITHER) return false
  }
  return true
}

/** Bit 0: not a small letter; bit 1: not hex; bit 2: in a run. */
const NEITHER = 3
const OUTSIDE = 0
const KINDS = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  const char = String.fromCharCode(code)
  if (/\d/.test(char)) KINDS[code] = 4 | 1
  else if (/[a-f]/.test(char)) KINDS[code] = 4
  else if (/[g-z]/.test(char)) KINDS[code] = 4 | 2
  else if (/[A-Z+/=]/.test(char)) KINDS[code] = 4 | NEITHER
}

/** Words that give a bare number a meaning: the detectors' own lists, as one. */
const CONTEXT =
  /tel|phone|mob|cell|fax|sms|what|call|dial|text|ring|reach|contact|answer|message|hotline|desk|office|line|ext|mail|handy|pager|ssn|social|tin|cpf|aadha|uidai|sin|tfn|tax|bsn|burger|pesel|steuer|idnr|passp|pasap|reisep/i

/** First letters of the words that may stand right after a number (`AFTER` in detect/digits.ts), as three bytes each. */
const AFTERWARDS = new Set(
  'tel pho mob cel fax off des hom wor lan ext'.split(' ').map((word) => Buffer.from(word).readUIntBE(0, 3)),
)
const LONGEST_GAP = 8

/** True when the digits are parts of ids, or whole words of 6 to 11 and no word around says what they are. */
export function hasBareNumbers(bytes: Buffer, scan: ByteScanner, from: number, to: number): boolean {
  let at = from
  for (;;) {
    at = scan.digit(at, to)
    if (at >= to) return true
    const start = at
    let last = at
    let digits = 1
    for (at++; at < to; at++) {
      if (isDigit(bytes[at]!)) {
        last = at
        digits++
      } else if (!isSeparator(bytes[at]!)) break
    }
    const isWhole = digits === last + 1 - start
    if (digits >= FEWEST_DIGITS && !(isWhole && isBare(bytes, from, start, last + 1, to))) return false
  }
}

function isDigit(code: number): boolean {
  return code >= 48 && code <= 57
}

const FEWEST_DIGITS = 6
const MOST_DIGITS = 11

/** Space, ( ) + - . / and bytes beyond ASCII, which may be the dashes and spaces of typography. */
function isSeparator(code: number): boolean {
  return code === 32 || code === 40 || code === 41 || code === 43 || (code >= 45 && code <= 47) || code > 127
}

function isBare(bytes: Buffer, from: number, start: number, end: number, to: number): boolean {
  const before = start > from ? bytes[start - 1]! : 0
  const after = end < to ? bytes[end]! : 0
  // Part of an id: no number begins or ends at a small letter. (`\n4111…` is an escape, `555x12` an extension.)
  if (isSmall(before) && bytes[start - 2] !== BACKSLASH) return true
  if (isSmall(after) && after !== X && after !== E) return true
  if (end - start > MOST_DIGITS || isCapital(before) || before === PLUS || isCapital(after)) return false
  if (after === X || after === E) return false
  if (start - from > 2 && CONTEXT.test(bytes.toString('latin1', Math.max(from, start - 60), start)))
    return false
  let at = end
  while (at < to && at - end < LONGEST_GAP && !isSmall(bytes[at]! | 32)) at++
  return at + 3 > to || !AFTERWARDS.has(bytes.readUIntBE(at, 3) | 0x202020)
}

const BACKSLASH = 92
const PLUS = 43
const X = 120
const E = 101

function isSmall(code: number): boolean {
  return code >= 97 && code <= 122
}

function isCapital(code: number): boolean {
  return code >= 65 && code <= 90
}

const LONGEST = 64
const SLOTS = 2048

/** Short values that were found clean before (models, versions, dates): one slot per hash, the newest stays. */
export class CleanValues {
  readonly #bytes: Uint8Array = new Uint8Array(SLOTS * LONGEST)
  readonly #sizes: Uint8Array = new Uint8Array(SLOTS)

  has(bytes: Uint8Array, start: number, size: number): boolean {
    if (size > LONGEST) return false
    const slot = hash(bytes, start, size)
    if (this.#sizes[slot] !== size) return false
    const at = slot * LONGEST
    for (let i = 0; i < size; i++) if (this.#bytes[at + i] !== bytes[start + i]) return false
    return true
  }

  add(bytes: Uint8Array, start: number, size: number): void {
    if (size > LONGEST) return
    const slot = hash(bytes, start, size)
    this.#bytes.set(bytes.subarray(start, start + size), slot * LONGEST)
    this.#sizes[slot] = size
  }
}

/** Of the length and the first, middle and last four bytes: values that it takes for one another only displace each other. */
function hash(bytes: Uint8Array, start: number, size: number): number {
  const middle = start + (size >> 1) - 2
  const last = start + size - 4
  const h =
    Math.imul(four(bytes, start), 0x9e3779b1) ^
    Math.imul(four(bytes, middle), 0x85ebca6b) ^
    Math.imul(four(bytes, last) ^ size, 0xc2b2ae35)
  return (h ^ (h >>> 15)) & (SLOTS - 1)
}

function four(bytes: Uint8Array, at: number): number {
  return bytes[at]! | (bytes[at + 1]! << 8) | (bytes[at + 2]! << 16) | (bytes[at + 3]! << 24)
}
