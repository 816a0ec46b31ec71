import { createHmac, createSecretKey, timingSafeEqual, type KeyObject } from 'node:crypto'
import type { Head } from '../../pipeline/admission.ts'
import { faultOf, reject, type Fault } from '../../pipeline/fault.ts'
import { sealContext } from '../../pipeline/identity/keyring.ts'
import type { HmacKey } from '../../pipeline/identity/records.ts'
import type { KeyUsage } from '../../pipeline/identity/usage.ts'
import { failureOf } from '../../pipeline/identity/verify.ts'
import type { Vault } from '../../pipeline/identity/vault.ts'
import type { IdentityView } from '../../pipeline/identity/view.ts'
import { HEADERS } from './credentials.ts'
import type { Method, Proof, Refused } from './method.ts'
import type { Nonces } from './nonces.ts'

export interface HmacParts {
  readonly identity: IdentityView
  readonly vault: Vault | undefined
  readonly usage: KeyUsage
  readonly nonces: Nonces
  readonly maxAgeMs: number
}

/** What is signed, line by line; the digest is of the body as sent (compressed, if it is). */
export function canonicalRequest(parts: {
  readonly method: string
  readonly path: string
  readonly timestamp: string
  readonly nonce: string
  readonly tenant: string
  /** Hex. */
  readonly sha256: string
}): string {
  const { method, path, timestamp, nonce, tenant, sha256 } = parts
  return ['v1', method, path, timestamp, nonce, tenant, sha256].join('\n')
}

interface Signed {
  readonly key: string
  readonly timestamp: string
  readonly nonce: string
  readonly sha256: string
  readonly signature: Buffer
}

/** Requests signed by HMAC-SHA256: judged by the head alone, so that nobody's body is read on a forged signature. */
export class HmacMethod implements Method {
  readonly name = 'hmac'
  readonly #parts: HmacParts
  /** By record: a changed one is another object. */
  readonly #opened = new WeakMap<HmacKey, KeyObject>()

  constructor(parts: HmacParts) {
    this.#parts = parts
  }

  async judge(head: Head, nowMs: number): Promise<Proof | Refused | undefined> {
    const signed = readSigned(head)
    if (signed === undefined || 'denial' in signed) return signed
    const { identity, usage, nonces, maxAgeMs } = this.#parts
    const key = identity.key(signed.key)
    if (key?.kind !== 'hmac' || key.tenant === undefined) return { denial: 'unknown' }
    const detail = `key ${key.id}`
    const text = canonicalRequest({ ...signed, method: head.method, path: head.path, tenant: key.tenant })
    if (!this.#matches(key, text, signed.signature)) return { denial: 'wrong', detail }
    const failure = failureOf(identity, key, nowMs)
    if (failure !== undefined) return { denial: failure, detail }
    const timeMs = Number(signed.timestamp) * 1000
    if (Math.abs(nowMs - timeMs) > maxAgeMs) return { denial: 'stale', detail }
    if (!key.roles.includes('ingest')) return { denial: 'role', detail }
    // Last, and only for who knows the secret: others cannot fill the store, nor use up a sender's nonces.
    const signer = { tenant: key.tenant, id: key.id }
    if (!(await nonces.use(signer, timeMs, signed.nonce))) return { denial: 'replayed', detail }
    usage.note(key.id, nowMs)
    return {
      tenant: key.tenant,
      project: key.project,
      principal: `key:${key.id}`,
      bodyDigest: Buffer.from(signed.sha256, 'hex'),
      keyId: key.id,
    }
  }

  /**
   * True when some HMAC secret of the tenant that is in force has signed these bytes. Throws SECRET_UNREADABLE when none
   * did of those that can be opened, and another cannot.
   */
  hasSigned(tenant: string, bytes: Uint8Array, signature: string, nowMs: number): boolean {
    const given = signatureBytes(signature)
    if (given === undefined) return false
    const { identity } = this.#parts
    const inForce = identity.secretsOf(tenant).filter((key) => failureOf(identity, key, nowMs) === undefined)
    let unreadable: Fault | undefined
    for (const key of inForce) {
      try {
        if (this.#matches(key, bytes, given)) return true
      } catch (error) {
        unreadable = faultOf(error)
        if (unreadable === undefined) throw error
      }
    }
    if (unreadable !== undefined) throw unreadable
    return false
  }

  #matches(key: HmacKey, text: string | Uint8Array, signature: Buffer): boolean {
    const secret = this.#open(key)
    return timingSafeEqual(createHmac('sha256', secret).update(text).digest(), signature)
  }

  /** Throws SECRET_UNREADABLE without the right master key. */
  #open(key: HmacKey): KeyObject {
    const known = this.#opened.get(key)
    if (known !== undefined) return known
    const { vault } = this.#parts
    if (vault === undefined) {
      throw reject(
        'SECRET_UNREADABLE',
        'the state extension has no master_key, which HMAC secrets are sealed under',
      )
    }
    const secret = createSecretKey(vault.open(key.sealed, sealContext(key)))
    this.#opened.set(key, secret)
    return secret
  }
}

const NONCE = /^[A-Za-z0-9_-]{16,128}$/
const TIMESTAMP = /^\d{10}$/

function readSigned(head: Head): Signed | Refused | undefined {
  const one = (name: string): string => head.header(name)[0] ?? ''
  const key = one(HEADERS.key)
  const given = one(HEADERS.signature)
  if (key === '' && given === '') return undefined
  const timestamp = one(HEADERS.timestamp)
  const nonce = one(HEADERS.nonce)
  const sha256 = one(HEADERS.digest).toLowerCase()
  const signature = signatureBytes(given)
  const isWhole = TIMESTAMP.test(timestamp) && NONCE.test(nonce) && /^[0-9a-f]{64}$/.test(sha256)
  if (signature === undefined || !isWhole) return { denial: 'malformed' }
  return { key, timestamp, nonce, sha256, signature }
}

/** Hex, or base64 in either alphabet; `v1=` or `sha256=` may stand before it. */
function signatureBytes(text: string): Buffer | undefined {
  const bare = text.replace(/^(?:v1|sha256)=/, '')
  if (/^[0-9a-fA-F]{64}$/.test(bare)) return Buffer.from(bare, 'hex')
  if (/^[A-Za-z0-9+/_-]{43}=?$/.test(bare)) return Buffer.from(bare, 'base64')
  return undefined
}
