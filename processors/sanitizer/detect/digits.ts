import { digitsOf, luhn, mod97 } from './checks.ts'
import { FEATURE } from './features.ts'
import type { Detector, Finding, Subject } from './finding.ts'
import { matchesIn, type Window } from './windows.ts'

/** Cards, IBANs, phone numbers: runs of digits, told apart by check digits, form, and the words around them. */

const EDGE = /[A-Za-z0-9_]/
const FEWEST = 12
const MOST = 19
const MOST_GROUPS = 5

export const card: Detector = {
  type: 'card',
  needs: FEATURE.digits,
  find({ text, windows }, found) {
    for (const window of windows) if (window.digits >= FEWEST) cardsIn(text, window, found)
  },
}

/** Numbers may stand side by side, so every group of digits is tried as the first of a card's. */
function cardsIn(text: string, window: Window, found: Finding[]): void {
  const groups = Array.from(text.slice(window.start, window.end).matchAll(/\d+/g), (match) => ({
    start: window.start + match.index,
    digits: match[0],
  }))
  for (let first = 0; first < groups.length; first++) {
    let digits = ''
    for (let last = first; last < Math.min(groups.length, first + MOST_GROUPS); last++) {
      const group = groups[last]!
      if (last > first && !isJoined(text, groups[last - 1]!, group.start)) break
      digits += group.digits
      if (digits.length > MOST) break
      const start = groups[first]!.start
      const end = group.start + group.digits.length
      if (digits.length < FEWEST || !isCard(text, start, end, digits)) continue
      found.push({ start, end, type: 'card' })
      first = last
      break
    }
  }
}

/** By a single space, dot or dash. */
function isJoined(text: string, before: { start: number; digits: string }, start: number): boolean {
  return start - before.start - before.digits.length === 1 && /[ .\-\u00a0]/.test(text[start - 1]!)
}

function isCard(text: string, start: number, end: number, digits: string): boolean {
  if (isPartOfWord(text, start, end) || !isIssued(digits) || !luhn(digits)) return false
  return hasCardForm(text.slice(start, end))
}

function isPartOfWord(text: string, start: number, end: number): boolean {
  if (EDGE.test(text[end] ?? '') || (/[.,]/.test(text[end] ?? '') && /\d/.test(text[end + 1] ?? '')))
    return true
  const before = text[start - 1] ?? ''
  if (before === '.' || before === ',') return /\d/.test(text[start - 2] ?? '')
  // The letter of an escape in JSON that stands in a text: `\n4111…`.
  return EDGE.test(before) && !(text[start - 2] === '\\' && /[nrt]/.test(before))
}

/** Ranges and lengths of the issuers (ISO/IEC 7812): Visa, Mastercard, Amex, Diners, Discover, JCB, UnionPay, Maestro, Mir. */
const ISSUERS: readonly (readonly [RegExp, readonly number[]])[] = [
  [/^4/, [13, 16, 19]],
  [/^(?:5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, [16]],
  [/^3[47]/, [15]],
  [/^3(?:0[0-59]|[689])/, [14, 16, 19]],
  [/^6(?:011|4[4-9]|5)/, [16, 19]],
  [/^35/, [16, 19]],
  [/^(?:2131|1800)/, [15]],
  [/^62/, [16, 17, 18, 19]],
  [/^220[0-4]/, [16, 19]],
  [/^(?:50|5[6-9]|6[0-9])/, [12, 13, 14, 15, 16, 17, 18, 19]],
]

function isIssued(digits: string): boolean {
  return ISSUERS.some(([prefix, lengths]) => lengths.includes(digits.length) && prefix.test(digits))
}

/** Unbroken, or in groups of three to six as cards are printed: not ` 1 2 3 …`, not a column of numbers. */
function hasCardForm(written: string): boolean {
  const groups = written.split(/[ .\-\u00a0]/)
  if (groups.length === 1) return true
  return groups.length <= 5 && groups.every((group) => group.length >= 3 && group.length <= 7)
}

/** Country → length (ISO 13616 registry). */
const IBAN_LENGTHS: Readonly<Record<string, number>> = Object.fromEntries(
  (
    'AD24 AE23 AL28 AT20 AZ28 BA20 BE16 BG22 BH22 BI27 BR29 BY28 CH21 CR22 CY28 CZ24 DE22 DJ27 DK18 DO28 EE20 EG29 ES24 ' +
    'FI18 FK18 FO18 FR27 GB22 GE22 GI23 GL18 GR27 GT28 HN28 HR21 HU28 IE22 IL23 IQ23 IS26 IT27 JO30 KW30 KZ20 LB28 LC32 ' +
    'LI21 LT20 LU20 LV21 LY25 MC27 MD24 ME22 MK19 MN20 MR27 MT31 MU30 NI28 NL18 NO15 OM23 PK24 PL28 PS29 PT25 QA29 RO24 ' +
    'RS22 RU33 SA24 SC31 SD18 SE24 SI19 SK24 SM27 SO23 ST25 SV28 TL23 TN24 TR26 UA29 VA22 VG24 XK20 YE30'
  )
    .split(' ')
    .map((entry) => [entry.slice(0, 2), Number(entry.slice(2))]),
)
const IBAN = /(?<![A-Za-z0-9])[A-Za-z]{2}\d{2}(?=[ -]?[A-Za-z0-9])/g

export const iban: Detector = {
  type: 'iban',
  needs: FEATURE.digits | FEATURE.run,
  find({ text }, found) {
    for (const match of text.matchAll(IBAN)) {
      const length = IBAN_LENGTHS[match[0].slice(0, 2).toUpperCase()]
      if (length === undefined) continue
      const end = ibanEnd(text, match.index, length)
      if (end > 0) found.push({ start: match.index, end, type: 'iban' })
    }
  },
}

function ibanEnd(text: string, start: number, length: number): number {
  let letters = ''
  let i = start
  for (; i < text.length && letters.length < length; i++) {
    const char = text[i]!
    if (/[A-Za-z0-9]/.test(char)) letters += char
    else if ((char !== ' ' && char !== '-') || !/[A-Za-z0-9]/.test(text[i + 1] ?? '')) return -1
  }
  if (letters.length < length || /[A-Za-z0-9]/.test(text[i] ?? '')) return -1
  return mod97((letters.slice(4) + letters.slice(0, 4)).toUpperCase()) === 1 ? i : -1
}

/** What people call a number that one can call. Before the number within 60 characters, or right after it. */
const CALLED =
  /\b(?:tel(?:e(?:phone|fon[eo]?))?|phones?|ph|mobiles?|mob|cell(?:phone|ular)?|fax|sms|whats ?app|call(?:s|ed|ing)?|dial(?:led|ing)?|text(?:ed|ing)?|ring|reach(?:able|ed)?|contact(?:able)?|answer(?:s|ed|ing)?|messages?|hotline|desk|office|landline|extension|voicemail|handy|m[oó]vil|t[eé]l[eé]fono|t[eé]l[eé]phone|telefon|telefoon|celular|pager)\b/i
const AFTER = /^[\s,;:()\\n/-]{0,6}(?:tel|phone|mobile|cell|fax|office|desk|home|work|landline|ext)\b/i
const PHONE_KEY = /phone|mobile|tel$|tel[^a-z]|fax|cell|msisdn|whatsapp|contact_?n/
/** Anything that could be a number to call: an optional +, up to 17 digits, separators of up to two characters. */
const CANDIDATE =
  /(?<![\w+./=-]|\d[ (),])(?:\+|00)?\(?\d(?:[ \u00a0]?[().\-/\u2010-\u2015]?[ \u00a0]?\(?\d){5,16}(?:\s?(?:x|ext\.?|#)\s?\d{1,6})?(?![\w@])/g
const GROUPED = /^(?:\+?1[-. ]?)?\(?[2-9]\d{2}\)?[-. ]?\d{3}[-. ]\d{4}(?:\s?(?:x|ext\.?|#)\s?\d{1,6})?$/

export const phone: Detector = {
  type: 'phone',
  needs: FEATURE.digits,
  find(subject, found) {
    for (const match of matchesIn(subject, CANDIDATE, 7)) addPhone(subject, match.text, match.index, found)
  },
}

function addPhone(subject: Subject, written: string, start: number, found: Finding[]): void {
  const number = written.replace(/\s?(?:x|ext\.?|#)\s?\d{1,6}$/, '')
  const digits = digitsOf(number)
  if (digits.length < 7 || digits.length > 15 || isDate(number) || !isBalanced(number)) return
  const end = start + written.length
  if (isWritten(number, digits) || isCalled(subject, start, end)) found.push({ start, end, type: 'phone' })
}

/** The form alone says it: international, North American groups, or a trunk 0 with an area in parentheses. */
function isWritten(number: string, digits: string): boolean {
  if (number.startsWith('+')) return digits.length >= 8 && !number.startsWith('+0')
  if (number.startsWith('00')) return digits.length >= 10 && /^00[1-9]\d{0,2}[ -]/.test(number)
  if (GROUPED.test(number)) return true
  return (
    /^\(\d{2,5}\)[ -]?\d{3,4}[ -]?\d{3,5}$/.test(number) ||
    /^0\d{1,4}[ /-]\d{2,4}(?:[ -]\d{2,4}){1,3}$/.test(number)
  )
}

function isCalled({ text, key }: Subject, start: number, end: number): boolean {
  if (key !== '' && PHONE_KEY.test(key)) return true
  return CALLED.test(text.slice(Math.max(0, start - 60), start)) || AFTER.test(text.slice(end, end + 16))
}

function isDate(number: string): boolean {
  return (
    /^(?:19|20)\d{2}[-./](?:0?[1-9]|1[0-2])[-./](?:0?[1-9]|[12]\d|3[01])(?:\D|$)/.test(number) ||
    /^(?:0?[1-9]|[12]\d|3[01])[-./](?:0?[1-9]|[12]\d|3[01])[-./](?:19|20)?\d{2}(?:\D|$)/.test(number) ||
    /^(?:19|20)\d{6}$/.test(number) ||
    /^(?:19|20)\d{2} ?[-–] ?(?:19|20)\d{2}$/.test(number)
  )
}

function isBalanced(number: string): boolean {
  const opens = number.split('(').length
  return opens === number.split(')').length && opens <= 3 && !/\/.*\//.test(number)
}
