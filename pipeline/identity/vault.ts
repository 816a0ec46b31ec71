import { createCipheriv, createDecipheriv, createHash, randomBytes } from 'node:crypto'
import { reject } from '../fault.ts'
import type { Secret } from '../secret.ts'
import type { Sealed } from './records.ts'

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16

/** The 32 bytes of a master key written in hex or base64; undefined when it is not one. */
export function masterKeyBytes(text: string): Buffer | undefined {
  const trimmed = text.trim()
  if (/^[0-9a-f]{64}$/i.test(trimmed)) return Buffer.from(trimmed, 'hex')
  if (!/^[A-Za-z0-9+/_-]{43}=?$/.test(trimmed)) return undefined
  const bytes = Buffer.from(trimmed, 'base64')
  return bytes.length === KEY_BYTES ? bytes : undefined
}

/**
 * Secrets that weir must be able to read again, sealed by AES-256-GCM under a master key that is never in the store.
 * What a secret belongs to is authenticated with it: a sealed text copied into another record does not open.
 */
export class Vault {
  readonly #current: string
  readonly #keys: ReadonlyMap<string, Buffer>

  /** `previous` still open what they have sealed. */
  constructor(master: Secret, previous: readonly Secret[] = []) {
    const keys = [master, ...previous].map((secret) => {
      const bytes = masterKeyBytes(secret.reveal())
      if (bytes === undefined)
        throw reject('CONFIG_INVALID', 'a master key must be 32 bytes in hex or base64')
      return [idOf(bytes), bytes] as const
    })
    this.#current = keys[0]?.[0] ?? ''
    this.#keys = new Map(keys)
  }

  /** `context` names the place: tenant, purpose, record. */
  seal(plain: Uint8Array, context: readonly string[]): Sealed {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#key(this.#current), nonce)
    cipher.setAAD(aad(context))
    const data = Buffer.concat([cipher.update(plain), cipher.final(), cipher.getAuthTag()])
    return { kek: this.#current, nonce: nonce.toString('base64'), data: data.toString('base64') }
  }

  /** Throws SECRET_UNREADABLE when the key is not here, or anything was changed. */
  open(sealed: Sealed, context: readonly string[]): Buffer {
    const data = Buffer.from(sealed.data, 'base64')
    const key = this.#key(sealed.kek)
    try {
      const nonce = Buffer.from(sealed.nonce, 'base64')
      const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(aad(context))
      decipher.setAuthTag(data.subarray(-TAG_BYTES))
      return Buffer.concat([decipher.update(data.subarray(0, -TAG_BYTES)), decipher.final()])
    } catch (error) {
      throw reject('SECRET_UNREADABLE', 'a sealed secret was changed, or belongs to another record', {
        cause: error,
      })
    }
  }

  /** True when a new sealing would use another master key. */
  isOutdated(sealed: Sealed): boolean {
    return sealed.kek !== this.#current
  }

  #key(id: string): Buffer {
    const key = this.#keys.get(id)
    if (key === undefined) {
      throw reject(
        'SECRET_UNREADABLE',
        `a secret is sealed under master key ${id}, which is not configured: add it to previous_master_keys of the state extension`,
      )
    }
    return key
  }
}

/** Tells master keys apart without saying anything of them. */
function idOf(key: Buffer): string {
  return createHash('sha256').update('weir master key id\0').update(key).digest('hex').slice(0, 8)
}

function aad(context: readonly string[]): Buffer {
  return Buffer.from(JSON.stringify(context))
}
