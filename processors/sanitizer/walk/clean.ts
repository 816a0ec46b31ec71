import { digitWindows } from '../detect/windows.ts'

/** Cheap proofs that what the prefilter saw is nothing: ids in hex, counts, values that were looked at before. */

const RUN = 16

/**
 * True when every run of 16 base64 characters is hex in lower case or of small letters only: an id or a word, in which no
 * token, address or text is written.
 */
export function hasDullRuns(bytes: Uint8Array, start: number, end: number): boolean {
  let length = 0
  let isHex = true
  let isSmall = true
  for (let i = start; i < end; i++) {
    const byte = bytes[i]!
    const kind = KIND[byte]!
    if (kind === OUTSIDE || kind === JOINT) {
      length = 0
      isHex = isSmall = true
      continue
    }
    length++
    if (kind !== HEX_LETTER && kind !== DIGIT) isHex = false
    if (kind !== HEX_LETTER && kind !== SMALL) isSmall = false
    if (length >= RUN && !isHex && !isSmall) return false
  }
  return true
}

const OUTSIDE = 0
const JOINT = 1
const DIGIT = 2
const HEX_LETTER = 3
const SMALL = 4
const OTHER = 5
const KIND = new Uint8Array(256)
for (let code = 0; code < 256; code++) {
  const char = String.fromCharCode(code)
  if (/[_-]/.test(char)) KIND[code] = JOINT
  else if (/\d/.test(char)) KIND[code] = DIGIT
  else if (/[a-f]/.test(char)) KIND[code] = HEX_LETTER
  else if (/[g-z]/.test(char)) KIND[code] = SMALL
  else if (/[A-Z+/=]/.test(char)) KIND[code] = OTHER
}

/** Words that give a bare number a meaning: the detectors' own lists, as one. */
const CONTEXT =
  /tel|phone|mob|cell|fax|sms|what|call|dial|text|ring|reach|contact|answer|message|hotline|desk|office|line|ext|mail|handy|pager|ssn|social|tin|cpf|aadha|uidai|sin|tfn|tax|bsn|burger|pesel|steuer|idnr|passp|pasap|reisep/i

const CONTEXT_AFTER = /tel|phone|mob|cell|fax|office|desk|home|work|line|ext/i

/** True when the digits are parts of ids, or whole words of 6 to 11 and no word around says what they are. */
export function hasBareNumbers(text: string): boolean {
  for (const { start, end } of digitWindows(text)) {
    if (!isDigits(text, start, end)) return false
    // Part of an id: no number begins or ends at a small letter. (`\n4111…` is an escape, `555x12` an extension.)
    if (isSmall(text[start - 1]) && text[start - 2] !== '\\') continue
    if (isSmall(text[end]) && text[end] !== 'x' && text[end] !== 'e') continue
    if (end - start > 11) return false
    if (/[A-Z+]/.test(text[start - 1] ?? '') || /[A-Zxe]/.test(text[end] ?? '')) return false
    if (
      CONTEXT.test(text.slice(Math.max(0, start - 60), start)) ||
      CONTEXT_AFTER.test(text.slice(end, end + 16))
    )
      return false
  }
  return true
}

function isSmall(char = ''): boolean {
  return char >= 'a' && char <= 'z'
}

function isDigits(text: string, start: number, end: number): boolean {
  for (let i = start; i < end; i++) {
    const code = text.charCodeAt(i)
    if (code < 48 || code > 57) return false
  }
  return true
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

/** FNV-1a, folded to a slot. */
function hash(bytes: Uint8Array, start: number, size: number): number {
  let h = 0x811c9dc5
  for (let i = start; i < start + size; i++) h = Math.imul(h ^ bytes[i]!, 0x01000193)
  return (h ^ (h >>> 15)) & (SLOTS - 1)
}
