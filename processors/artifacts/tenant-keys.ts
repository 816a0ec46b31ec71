import { createHash, hkdfSync, randomBytes } from 'node:crypto'
import type { Context } from '../../pipeline/factory.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Sealed } from '../../pipeline/identity/records.ts'
import { stateKey } from '../../pipeline/state/state.ts'

const VERSION = 1
const KEY_BYTES = 32

/** `plain` only where there is no master key, and then it signs links and encrypts nothing. */
interface Record {
  readonly v: number
  readonly sealed?: Sealed
  readonly plain?: string
}

/** A tenant's own key. Without it none of its sealed artifacts can be read again. */
export interface TenantKey {
  /** Tells keys apart and says nothing of them. */
  readonly id: string
  /** A key of its own for each purpose; the same for the same `salt` and `purpose`. */
  derive(purpose: string, salt?: Uint8Array): Buffer
}

/** Each tenant's key: made at its first use, kept in state (`artifacts.key.<tenant>`), sealed by the vault. */
export class TenantKeys {
  readonly #context: Pick<Context, 'state' | 'vault'>
  readonly #known = new Map<string, TenantKey>()

  constructor(context: Pick<Context, 'state' | 'vault'>) {
    this.#context = context
  }

  /** The tenant's key, made where there is none. */
  async of(tenant: string): Promise<TenantKey> {
    const known = await this.find(tenant)
    if (known !== undefined) return known
    await this.#context.state.create(keyOf(tenant), this.#recordOf(tenant, randomBytes(KEY_BYTES)))
    // Of several that were made at once, the one that is kept.
    const stored = await this.find(tenant)
    if (stored === undefined) throw new Error('a key that was kept is gone')
    return stored
  }

  /** Undefined: the tenant has none. */
  async find(tenant: string): Promise<TenantKey | undefined> {
    const known = this.#known.get(tenant)
    if (known !== undefined) return known
    const entry = await this.#context.state.get(keyOf(tenant))
    if (entry === undefined) return undefined
    const record = JSON.parse(Buffer.from(entry.value).toString()) as Record
    const bytes = this.#open(tenant, record)
    if (record.plain !== undefined) await this.#seal(tenant, bytes, entry.revision)
    const key = keyFrom(bytes)
    this.#known.set(tenant, key)
    return key
  }

  /** A master key has come since the record was written. */
  async #seal(tenant: string, bytes: Buffer, revision: number): Promise<void> {
    if (this.#context.vault === undefined) return
    await this.#context.state.update(keyOf(tenant), this.#recordOf(tenant, bytes), revision)
  }

  #recordOf(tenant: string, bytes: Buffer): Buffer {
    const { vault } = this.#context
    const kept =
      vault === undefined
        ? { plain: bytes.toString('base64') }
        : { sealed: vault.seal(bytes, placeOf(tenant)) }
    return Buffer.from(JSON.stringify({ v: VERSION, ...kept } satisfies Record))
  }

  #open(tenant: string, { v, sealed, plain }: Record): Buffer {
    if (v > VERSION) throw reject('STATE_VERSION', `the artifact key of ${tenant} is of a newer weir`)
    if (sealed === undefined) return Buffer.from(plain ?? '', 'base64')
    const { vault } = this.#context
    if (vault !== undefined) return vault.open(sealed, placeOf(tenant))
    throw reject(
      'SECRET_UNREADABLE',
      `the artifact key of ${tenant} is sealed: give the state extension the master_key that it was sealed with`,
    )
  }
}

function keyOf(tenant: string) {
  return stateKey('artifacts', 'key', tenant)
}

function placeOf(tenant: string): readonly string[] {
  return ['artifacts', 'key', tenant]
}

function keyFrom(bytes: Buffer): TenantKey {
  return {
    id: createHash('sha256').update('weir artifact key id\0').update(bytes).digest('hex').slice(0, 16),
    derive: (purpose, salt = new Uint8Array()) =>
      Buffer.from(hkdfSync('sha256', bytes, salt, `weir artifact ${purpose}`, KEY_BYTES)),
  }
}
