import { createHash } from 'node:crypto'
import { FEATURE } from './features.ts'
import type { Detector, Finding } from './finding.ts'

/** Long tokens with a form of their own: JWTs, crypto addresses, private keys. */

const RUN = /[A-Za-z0-9_.=-]{24,}/g

/** `header.payload.signature`, of which header and payload are JSON in base64url, and so begin with `eyJ`. */
export const jwt: Detector = {
  type: 'jwt',
  needs: FEATURE.run,
  find({ text }, found) {
    if (!text.includes('eyJ')) return
    for (const run of text.matchAll(RUN)) addTokens(run[0], run.index, found)
  },
}

/** Each segment is looked at once. */
function addTokens(run: string, offset: number, found: Finding[]): void {
  const segments = run.split('.')
  let at = 0
  for (let i = 0; i < segments.length; i++) {
    const segment = segments[i]!
    const begin = segment.indexOf('eyJ')
    const payload = segments[i + 1]
    if (begin >= 0 && segment.length - begin >= 12 && payload !== undefined && payload.length >= 8) {
      const parts = Math.min(5, segments.length - i)
      const length = segments.slice(i, i + parts).join('.').length
      found.push({ start: offset + at + begin, end: offset + at + length, type: 'jwt' })
      return
    }
    at += segment.length + 1
  }
}

const ADDRESS =
  /(?<![A-Za-z0-9])(?:0x[0-9A-Fa-f]{40}|(?:bc1|ltc1|tb1)[02-9ac-hj-np-z]{11,71}|[13LMT][1-9A-HJ-NP-Za-km-z]{25,34})(?![A-Za-z0-9])/g

export const crypto: Detector = {
  type: 'crypto',
  needs: FEATURE.run,
  find({ text }, found) {
    for (const match of text.matchAll(ADDRESS)) {
      if (!isAddress(match[0])) continue
      found.push({ start: match.index, end: match.index + match[0].length, type: 'crypto' })
    }
  },
}

function isAddress(text: string): boolean {
  if (text.startsWith('0x')) return !/^0x0{40}$/i.test(text)
  return /^(?:bc1|ltc1|tb1)/.test(text) ? isBech32(text) : isBase58Check(text)
}

const BASE58 = '123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz'

/** Version, 20 bytes, and the first 4 bytes of their double SHA-256. */
function isBase58Check(text: string): boolean {
  let value = 0n
  for (const char of text) value = value * 58n + BigInt(BASE58.indexOf(char))
  const hex = value.toString(16).padStart(50, '0')
  if (hex.length !== 50) return false
  const bytes = Buffer.from(hex, 'hex')
  const sum = sha256(sha256(bytes.subarray(0, 21)))
  return sum.subarray(0, 4).equals(bytes.subarray(21))
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest()
}

const BECH32 = 'qpzry9x8gf2tvdw0s3jn54khce6mua7l'
const GENERATOR = [0x3b6a57b2, 0x26508e6d, 0x1ea119fa, 0x3d4233dd, 0x2a1462b3]

/** BIP 173 and BIP 350: the polymod is 1 or 0x2bc830a3. */
function isBech32(text: string): boolean {
  const split = text.lastIndexOf('1')
  const prefix = text.slice(0, split)
  const values = [
    ...Array.from(prefix, (char) => char.charCodeAt(0) >> 5),
    0,
    ...Array.from(prefix, (char) => char.charCodeAt(0) & 31),
    ...Array.from(text.slice(split + 1), (char) => BECH32.indexOf(char)),
  ]
  let check = 1
  for (const value of values) {
    const top = check >>> 25
    check = ((check & 0x1ffffff) << 5) ^ value
    for (let i = 0; i < 5; i++) if (((top >>> i) & 1) === 1) check ^= GENERATOR[i]!
  }
  return check === 1 || check === 0x2bc830a3
}

const BEGIN = /-----BEGIN[ A-Z0-9_-]{0,100}?PRIVATE KEY(?: BLOCK)?-----/gi
const END = /-----END[ A-Z0-9_-]{0,100}?PRIVATE KEY(?: BLOCK)?-----/gi
/** What a key is made of, `\n` as two characters included: a key that was cut off has no end. */
const BODY = /(?:[A-Za-z0-9+/=\s:,-]|\\[nr])*/y

/** PEM and PGP private keys, whole or cut off. */
export const privateKey: Detector = {
  type: 'private_key',
  needs: FEATURE.word,
  find({ text }, found) {
    let done = 0
    for (const begin of text.matchAll(BEGIN)) {
      if (begin.index < done) continue
      const body = begin.index + begin[0].length
      END.lastIndex = body
      const end = END.exec(text)
      if (end === null) {
        BODY.lastIndex = body
        const rest = BODY.exec(text)?.[0].trimEnd() ?? ''
        if (rest.length >= 16)
          found.push({ start: begin.index, end: body + rest.length, type: 'private_key' })
        return
      }
      done = end.index + end[0].length
      found.push({ start: begin.index, end: done, type: 'private_key' })
    }
  },
}

export const PRIVATE_KEY_WORD = 'private key'
