import { digitsOf, luhn, verhoeff, weighted } from './checks.ts'
import { FEATURE } from './features.ts'
import type { Detector, Subject } from './finding.ts'
import { matchesIn } from './windows.ts'

/** Numbers that states give to people: form, check digit, and, where both say little, a word near by that names it. */
interface Id {
  readonly type: 'ssn' | 'national_id'
  readonly pattern: RegExp
  /** Digits in it, at least. */
  readonly digits: number
  readonly check: (text: string) => boolean
  /** Must stand before it within 60 characters, or be its key. */
  readonly word?: RegExp
}

const IDS: readonly Id[] = [
  // United States. https://www.ssa.gov/employer/randomization.html: no area 000, 666, 9xx; no group 00; no serial 0000.
  {
    type: 'ssn',
    pattern: /(?<![\w.+-])\d{3}-\d{2}-\d{4}(?![\w-]|\.\d)/g,
    digits: 9,
    check: (text) => isSsn(digitsOf(text)),
  },
  {
    type: 'ssn',
    pattern: /(?<![\w.+-])\d{3}[ .]?\d{2}[ .]?\d{4}(?![\w-]|\.\d)/g,
    digits: 9,
    check: (text) => isSsn(digitsOf(text)),
    word: /\bssn\b|social[ _-]?security|\btin\b/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.+-])9\d{2}-[5-9]\d-\d{4}(?![\w-])/g,
    digits: 9,
    check: () => true,
    word: /\bitin\b|tax/i,
  },
  // United Kingdom: National Insurance number.
  {
    type: 'national_id',
    pattern:
      /(?<![A-Za-z0-9])[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D](?![A-Za-z0-9])/g,
    digits: 6,
    check: (text) => !/^(?:BG|GB|NK|KN|TN|NT|ZZ)/.test(text),
  },
  // Spain: DNI and NIE, letter = number mod 23.
  {
    type: 'national_id',
    pattern: /(?<![A-Za-z0-9])(?:\d{8}|[XYZ]-?\d{7})-?[A-HJ-NP-TV-Z](?![A-Za-z0-9])/g,
    digits: 7,
    check: isDni,
  },
  // Brazil: CPF.
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{3}\.\d{3}\.\d{3}-\d{2}(?![\w-])/g,
    digits: 11,
    check: isCpf,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{11}(?![\w-])/g,
    digits: 11,
    check: isCpf,
    word: /\bcpf\b/i,
  },
  // India: Aadhaar (Verhoeff), PAN.
  {
    type: 'national_id',
    pattern: /(?<![\w.-])[2-9]\d{3} \d{4} \d{4}(?![\w-]| \d{4})/g,
    digits: 12,
    check: (text) => verhoeff(digitsOf(text)),
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])[2-9]\d{11}(?![\w-])/g,
    digits: 12,
    check: verhoeff,
    word: /aadhaar|aadhar|uidai/i,
  },
  // France: NIR, key = 97 − number mod 97.
  {
    type: 'national_id',
    pattern: /(?<![\w.-])[12] ?\d{2} ?(?:0[1-9]|1[0-2]) ?\d{2} ?\d{3} ?\d{3} ?\d{2}(?![\w-])/g,
    digits: 13,
    check: isNir,
  },
  // Sweden (personnummer), Finland (HETU) with their separators.
  {
    type: 'national_id',
    pattern: /(?<![\w.-])(?:\d{2})?\d{2}(?:0[1-9]|1[0-2])(?:[0-2]\d|3[01])[-+]\d{4}(?![\w-])/g,
    digits: 10,
    check: (text) => luhn(digitsOf(text).slice(-10)),
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])(?:[0-2]\d|3[01])(?:0[1-9]|1[0-2])\d{2}[-+A]\d{3}[0-9A-FHJ-NPR-Y](?![\w-])/g,
    digits: 9,
    check: isHetu,
  },
  // Canada SIN, Australia TFN, Poland PESEL, Netherlands BSN, Germany tax id: digits only, so a word must name them.
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{3}[ -]?\d{3}[ -]?\d{3}(?![\w-])/g,
    digits: 9,
    check: (text) => luhn(digitsOf(text)),
    word: /\bsin\b|social[ _]insurance/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{3} ?\d{3} ?\d{3}(?![\w-])/g,
    digits: 9,
    check: (text) => weighted(digitsOf(text), [1, 4, 3, 7, 5, 8, 6, 9, 10]) % 11 === 0,
    word: /\btfn\b|tax[ _]file/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{9}(?![\w-])/g,
    digits: 9,
    check: (text) => weighted(text, [9, 8, 7, 6, 5, 4, 3, 2, -1]) % 11 === 0,
    word: /\bbsn\b|burgerservice/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])\d{11}(?![\w-])/g,
    digits: 11,
    check: (text) => weighted(text, [1, 3, 7, 9, 1, 3, 7, 9, 1, 3, 1]) % 10 === 0,
    word: /\bpesel\b/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![\w.-])[1-9]\d ?\d{3} ?\d{3} ?\d{3}(?![\w-])/g,
    digits: 11,
    check: () => true,
    word: /steuer|\bidnr\b|\btax[ _]?id\b/i,
  },
  {
    type: 'national_id',
    pattern: /(?<![A-Za-z0-9])[A-Z]{1,2}\d{6,8}(?![A-Za-z0-9])/g,
    digits: 6,
    check: () => true,
    word: /passport|reisepass|passeport|pasaporte/i,
  },
]

const ANY_WORD = new RegExp(
  IDS.flatMap(({ word }) => (word === undefined ? [] : [word.source])).join('|'),
  'i',
)

export const nationalIds: Detector = {
  type: 'national_id',
  needs: FEATURE.digits,
  find(subject, found) {
    const most = subject.windows.reduce((most, { digits }) => Math.max(most, digits), 0)
    const hasWord = ANY_WORD.test(subject.key) || ANY_WORD.test(subject.text)
    for (const { type, pattern, digits, check, word } of IDS) {
      if (digits > most || (word !== undefined && !hasWord)) continue
      for (const match of matchesIn(subject, pattern, digits)) {
        if (word !== undefined && !isNamed(subject, match.index, word)) continue
        if (check(match.text)) found.push({ start: match.index, end: match.index + match.text.length, type })
      }
    }
  },
}

/** Italy: codice fiscale. Mostly letters, so it is found by its length. */
const CODICE_FISCALE = /(?<![A-Za-z0-9])[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z](?![A-Za-z0-9])/g

export const codiceFiscale: Detector = {
  type: 'national_id',
  needs: FEATURE.run,
  find({ text }, found) {
    for (const match of text.matchAll(CODICE_FISCALE)) {
      if (!isCodiceFiscale(match[0])) continue
      found.push({ start: match.index, end: match.index + match[0].length, type: 'national_id' })
    }
  },
}

function isNamed({ text, key }: Subject, start: number, word: RegExp): boolean {
  return word.test(key) || word.test(text.slice(Math.max(0, start - 60), start))
}

function isSsn(digits: string): boolean {
  return !/^(?:000|666|9)/.test(digits) && digits.slice(3, 5) !== '00' && digits.slice(5) !== '0000'
}

function isDni(text: string): boolean {
  const number = text
    .replace(/-/g, '')
    .slice(0, -1)
    .replace(/^[XYZ]/, (letter) => String('XYZ'.indexOf(letter)))
  return 'TRWAGMYFPDXBNJZSQVHLCKE'[Number(number) % 23] === text.at(-1)
}

function isCpf(text: string): boolean {
  const digits = digitsOf(text)
  if (/^(\d)\1{10}$/.test(digits)) return false
  const check = (length: number): number => {
    const weights = Array.from({ length }, (_, index) => length + 1 - index)
    const rest = (weighted(digits, weights) * 10) % 11
    return rest === 10 ? 0 : rest
  }
  return check(9) === Number(digits[9]) && check(10) === Number(digits[10])
}

const ODD = [1, 0, 5, 7, 9, 13, 15, 17, 19, 21, 2, 4, 18, 20, 11, 3, 6, 8, 12, 14, 16, 10, 22, 25, 24, 23]

function isCodiceFiscale(text: string): boolean {
  let sum = 0
  for (let i = 0; i < 15; i++) {
    const value = Number.parseInt(text[i]!, 36)
    const index = value < 10 ? value : value - 10
    sum += i % 2 === 0 ? ODD[index]! : index
  }
  return String.fromCharCode(65 + (sum % 26)) === text[15]
}

function isNir(text: string): boolean {
  const digits = digitsOf(text)
  return 97 - Number(BigInt(digits.slice(0, 13)) % 97n) === Number(digits.slice(13))
}

function isHetu(text: string): boolean {
  const number = Number(text.slice(0, 6) + text.slice(7, 10))
  return '0123456789ABCDEFHJKLMNPRSTUVWXY'[number % 31] === text.at(-1)
}
