import { createHmac } from 'node:crypto'
import { reject } from '../fault.ts'

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

/** The word that masks and pseudonyms of a type carry; a custom rule's name is its type. */
export function wordOf(type: string): string {
  if (Object.hasOwn(WORDS, type)) return WORDS[type as BuiltInType]
  return type.toUpperCase().replace(/[^A-Z0-9]+/g, '_')
}

/** `<EMAIL:9f3a…>`: the same for the same value under a salt; nobody without the salt can guess. */
export function pseudonym(salt: Uint8Array, type: string, value: string): string {
  const word = wordOf(type) || 'SECRET'
  const digest = createHmac('sha256', salt)
    .update(`${word}\0${normalised(type, value)}`)
    .digest('hex')
  return `<${word}:${digest.slice(0, 16)}>`
}

/** Each tenant's own salt: pseudonyms of one say nothing about another's. */
export function tenantSalt(salt: Uint8Array, tenant: string): Buffer {
  return createHmac('sha256', salt).update(`tenant\0${tenant}`).digest()
}

/** One spelling for what is the same address or number. */
function normalised(type: string, value: string): string {
  if (type === 'email' || type === 'mac' || type === 'ip') return value.toLowerCase()
  if (type === 'card' || type === 'ssn') return value.replace(/\D/g, '')
  if (type === 'phone') return value.replace(/(?!^\+)\D/g, '')
  return type === 'iban' || type === 'national_id' ? value.replace(/[^A-Za-z0-9]/g, '').toUpperCase() : value
}

/** What this process gives pseudonyms with: the sanitizer that started last says it, the API answers with it. */
export class Pseudonyms {
  #salt: Uint8Array | undefined

  use(salt: Uint8Array): void {
    this.#salt = salt
  }

  /** Throws NOT_FOUND (reject) where no sanitizer runs. */
  of(tenant: string, type: string, value: string): string {
    if (this.#salt === undefined)
      throw reject('NOT_FOUND', 'no sanitizer runs in this daemon: nothing has pseudonyms')
    return pseudonym(tenantSalt(this.#salt, tenant), type, value)
  }
}
