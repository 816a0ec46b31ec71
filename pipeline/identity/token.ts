import { hash, randomBytes, randomInt } from 'node:crypto'

/**
 * `weir_<env>_<id>_<secret>`: the id finds the record, the secret is 256 random bits in hex. Only its SHA-256 is stored:
 * against so much entropy a slow hash would protect nobody but cost 55 ms a request (notes/reliability.md section 5).
 */
const TOKEN = /^weir_([a-z0-9]{1,16})_([a-z0-9]{1,32})_([0-9a-f]{64})$/

export const ENV = /^[a-z0-9]{1,16}$/

const ID_ALPHABET = 'abcdefghijklmnopqrstuvwxyz0123456789'
const ID_LENGTH = 12
const SECRET_BYTES = 32

export function newKeyId(): string {
  return Array.from({ length: ID_LENGTH }, () => ID_ALPHABET[randomInt(ID_ALPHABET.length)]).join('')
}

export function newToken(env: string, id: string): string {
  return `weir_${env}_${id}_${randomBytes(SECRET_BYTES).toString('hex')}`
}

/** The id in a key; undefined when it is not written like one. */
export function tokenId(token: string): string | undefined {
  return TOKEN.exec(token)?.[2]
}

export function tokenDigest(token: string): Buffer {
  return hash('sha256', token, 'buffer')
}
