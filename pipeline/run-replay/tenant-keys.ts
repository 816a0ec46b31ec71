import { createCipheriv, createDecipheriv, createHmac, randomBytes } from 'node:crypto'
import { z } from 'zod'
import { reject } from '../fault.ts'
import { sealed } from '../identity/records.ts'
import type { Vault } from '../identity/vault.ts'
import { stateKey, type StateKey, type StateStore } from '../state/state.ts'

/**
 * replay-key.<tenant>: 32 random bytes, sealed under the master key. Whoever deletes it makes everything unreadable that
 * was cached for the tenant, and its requests unrecognisable.
 */
const record = z.object({ v: z.literal(1), sealed })

const KEY_BYTES = 32
const NONCE_BYTES = 12
const TAG_BYTES = 16
/** 128 bits. */
const HASH_DIGITS = 32
const MOST_KEPT = 10_000

/** What one tenant's requests are recognised and its answers sealed with. */
export class TenantKey {
  readonly #hash: Buffer
  readonly #seal: Buffer

  constructor(root: Uint8Array) {
    this.#hash = createHmac('sha256', root).update('weir replay request').digest()
    this.#seal = createHmac('sha256', root).update('weir replay answer').digest()
  }

  /** Hex; says nothing to who does not have the key. */
  hash(text: string): string {
    return createHmac('sha256', this.#hash).update(text).digest('hex').slice(0, HASH_DIGITS)
  }

  /** AES-256-GCM: nonce, ciphertext, tag. `place`: where it is kept; it opens nowhere else. */
  seal(plain: Uint8Array, place: string): Buffer {
    const nonce = randomBytes(NONCE_BYTES)
    const cipher = createCipheriv('aes-256-gcm', this.#seal, nonce)
    cipher.setAAD(Buffer.from(place))
    return Buffer.concat([nonce, cipher.update(plain), cipher.final(), cipher.getAuthTag()])
  }

  /** Undefined when it was changed, or sealed elsewhere or with another key. */
  open(bytes: Uint8Array, place: string): Buffer | undefined {
    if (bytes.length < NONCE_BYTES + TAG_BYTES) return undefined
    try {
      const nonce = bytes.subarray(0, NONCE_BYTES)
      const decipher = createDecipheriv('aes-256-gcm', this.#seal, nonce, { authTagLength: TAG_BYTES })
      decipher.setAAD(Buffer.from(place))
      decipher.setAuthTag(bytes.subarray(-TAG_BYTES))
      return Buffer.concat([decipher.update(bytes.subarray(NONCE_BYTES, -TAG_BYTES)), decipher.final()])
    } catch {
      return undefined
    }
  }
}

/** The keys of all tenants; made at first use. */
export class TenantKeys {
  readonly #state: StateStore
  readonly #vault: Vault
  readonly #kept = new Map<string, Promise<TenantKey>>()

  constructor(state: StateStore, vault: Vault) {
    this.#state = state
    this.#vault = vault
  }

  /** Rejects with SECRET_UNREADABLE, or STATE_UNAVAILABLE (retry). */
  of(tenant: string): Promise<TenantKey> {
    const known = this.#kept.get(tenant)
    if (known !== undefined) return known
    if (this.#kept.size >= MOST_KEPT) this.#kept.clear()
    const made = this.#read(tenant).catch((error: unknown) => {
      this.#kept.delete(tenant)
      throw error
    })
    this.#kept.set(tenant, made)
    return made
  }

  async #read(tenant: string): Promise<TenantKey> {
    const key = tenantKeyKey(tenant)
    const found = await this.#state.get(key)
    if (found === undefined) return await this.#make(tenant)
    const stored = record.safeParse(JSON.parse(Buffer.from(found.value).toString())).data
    if (stored === undefined) {
      throw reject(
        'STATE_VERSION',
        `the replay key of tenant ${tenant} was written by another version of weir`,
      )
    }
    const root = this.#vault.open(stored.sealed, contextOf(tenant))
    if (this.#vault.isOutdated(stored.sealed)) {
      await this.#state.update(key, encode(this.#vault.seal(root, contextOf(tenant))), found.revision)
    }
    return new TenantKey(root)
  }

  async #make(tenant: string): Promise<TenantKey> {
    const root = randomBytes(KEY_BYTES)
    const bytes = encode(this.#vault.seal(root, contextOf(tenant)))
    if ((await this.#state.create(tenantKeyKey(tenant), bytes)) !== undefined) return new TenantKey(root)
    return await this.#read(tenant)
  }
}

function tenantKeyKey(tenant: string): StateKey {
  return stateKey('replay-key', tenant)
}

function contextOf(tenant: string): readonly string[] {
  return [tenant, 'replay']
}

function encode(value: z.input<typeof sealed>): Uint8Array {
  return Buffer.from(JSON.stringify({ v: 1, sealed: value }))
}
