import { createHmac } from 'node:crypto'

/** What is done with what was found. */
export const MODES = ['mask', 'hash', 'remove', 'full', 'none'] as const
export type Mode = (typeof MODES)[number]

/** Every kind of finding, the most telling first: where two overlap, the first names the whole. Value: the word in the mask. */
export const WORDS = {
  marked: '',
  private_key: 'PRIVATE_KEY',
  jwt: 'JWT',
  secret: 'SECRET',
  url_credentials: 'CREDENTIALS',
  email: 'EMAIL',
  card: 'CARD',
  iban: 'IBAN',
  ssn: 'SSN',
  national_id: 'NATIONAL_ID',
  crypto: 'CRYPTO',
  ip: 'IP',
  mac: 'MAC',
  phone: 'PHONE',
  sensitive_key: '',
} as const
export type BuiltInType = keyof typeof WORDS
export const TYPES = Object.keys(WORDS) as BuiltInType[]

/** A value that is gone whole; what was masked or given a pseudonym before is not touched again. */
export const WHOLE = '[REDACTED_ALL]'
export const MASKED = /^(?:\[REDACTED(?:_[A-Z0-9_]+)?\]|<[A-Z0-9_]+:[0-9a-f]{16}>)$/

/** How one tenant's findings are treated. */
export class Policy {
  readonly #modes: ReadonlyMap<string, Mode>
  readonly #fallback: Mode
  readonly #salt: Buffer

  /** `salt`: the tenant's own. */
  constructor(fallback: Mode, modes: Readonly<Partial<Record<string, Mode>>>, salt: Buffer) {
    this.#fallback = fallback
    this.#modes = new Map(
      Object.entries(modes).filter((entry): entry is [string, Mode] => entry[1] !== undefined),
    )
    this.#salt = salt
  }

  mode(type: string): Mode {
    return this.#modes.get(type) ?? this.#fallback
  }

  /** What stands in place of `value`. */
  replacement(type: string, value: string): string {
    const mode = this.mode(type)
    if (mode === 'none') return value
    if (mode === 'remove') return ''
    if (mode === 'full') return WHOLE
    if (mode === 'hash') return this.pseudonym(type, value)
    const word = wordOf(type)
    return word === '' ? '[REDACTED]' : `[REDACTED_${word}]`
  }

  /** The same value of the same tenant always has the same: joins still work, and nobody without the salt can guess. */
  pseudonym(type: string, value: string): string {
    const word = wordOf(type) || 'SECRET'
    const digest = createHmac('sha256', this.#salt)
      .update(`${word}\0${normalised(type, value)}`)
      .digest('hex')
    return `<${word}:${digest.slice(0, 16)}>`
  }

  /** A keyed hash over what was there before, in order: equal for equal originals. */
  originals(values: readonly string[]): string {
    const hmac = createHmac('sha256', this.#salt).update('original\0')
    for (const value of values) hmac.update(`${Buffer.byteLength(value)}\0`).update(value)
    return hmac.digest('hex').slice(0, 32)
  }
}

/** A custom rule's name is its type. */
function wordOf(type: string): string {
  if (Object.hasOwn(WORDS, type)) return WORDS[type as BuiltInType]
  return type.toUpperCase().replace(/[^A-Z0-9]+/g, '_')
}

/** One spelling for what is the same address or number. */
function normalised(type: string, value: string): string {
  if (type === 'email' || type === 'mac' || type === 'ip') return value.toLowerCase()
  if (type === 'card' || type === 'ssn') return value.replace(/\D/g, '')
  if (type === 'phone') return value.replace(/(?!^\+)\D/g, '')
  return type === 'iban' || type === 'national_id' ? value.replace(/[^A-Za-z0-9]/g, '').toUpperCase() : value
}
