import { reject } from '../fault.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import type { Directory } from './directory.ts'
import { key, keyKey, VERSION, type Key, type KeyKind, type Role } from './records.ts'
import { ENV, newKeyId, newToken, tokenDigest } from './token.ts'
import type { Vault } from './vault.ts'
import { changeRecord, createRecord, decodeRecord, readRecord, type Place } from './writes.ts'

export interface NewKey {
  readonly kind: KeyKind
  readonly name?: string
  readonly tenant?: string
  readonly project?: string
  readonly agent?: string
  readonly roles: readonly Role[]
  /** Stands in the key, for people: `live`, `test`, … */
  readonly env?: string
  readonly expires_ms?: number
  /** Of a certificate: `san:DNS:…` or `spki:…`. */
  readonly binding?: string
}

export interface Made {
  readonly key: Key
  /** Printed once and not kept; a certificate has none. */
  readonly secret?: string
}

/** A signature of one event names no secret: each one in force is tried. */
const MAX_HMAC_SECRETS = 8
/** Of a tenant: every daemon keeps them in memory, and the tenant's own admin makes them. */
const MAX_KEYS = 10_000

/** Makes, replaces and revokes what proves who somebody is. */
export class Keyring {
  readonly #state: StateStore
  readonly #directory: Directory
  readonly #vault: Vault | undefined
  readonly #clock: () => number

  constructor(state: StateStore, directory: Directory, vault: Vault | undefined, clock: () => number) {
    this.#state = state
    this.#directory = directory
    this.#vault = vault
    this.#clock = clock
  }

  async create(wanted: NewKey): Promise<Made> {
    checkScope(wanted)
    await this.#directory.checkOwner(wanted)
    await this.#checkRoom(wanted.kind, wanted.tenant ?? '')
    return this.#store(wanted)
  }

  /** A successor like it; the old one goes on for `overlapMs`, so that senders can change over. */
  async rotate(id: string, overlapMs: number): Promise<Made> {
    const old = await this.read(id)
    if (old.kind === 'certificate') {
      throw reject(
        'REQUEST_INVALID',
        `key ${id} is a certificate: create one for the new certificate, then revoke this`,
      )
    }
    const nowMs = this.#clock()
    if (!isInForce(old, nowMs)) {
      throw reject('CONFLICT', `key ${id} is revoked or expired: create a new one`)
    }
    if (old.successor !== undefined) {
      // Its own end is that of the overlap: a second successor would inherit a short life.
      throw reject('CONFLICT', `key ${id} was replaced by ${old.successor}: rotate that, or create a new one`)
    }
    await this.#checkRoom(overlapMs > 0 ? old.kind : 'api', old.tenant ?? '')
    const { kind, env, name, roles, tenant, project, agent } = old
    const made = await this.#store({
      kind,
      env,
      name,
      roles,
      ...(tenant !== undefined && { tenant }),
      ...(project !== undefined && { project }),
      ...(agent !== undefined && { agent }),
      ...(old.expires_ms !== undefined && { expires_ms: nowMs + (old.expires_ms - old.created_ms) }),
    })
    const endMs = nowMs + overlapMs
    await changeRecord(this.#state, placeOf(id), (record) => ({
      ...record,
      expires_ms: Math.min(record.expires_ms ?? endMs, endMs),
      successor: made.key.id,
    }))
    return made
  }

  /** At once and for ever; a second time changes nothing. */
  revoke(id: string): Promise<Key> {
    return changeRecord(this.#state, placeOf(id), (record) => ({
      ...record,
      revoked_ms: record.revoked_ms ?? this.#clock(),
    }))
  }

  /** Only what is not in force any more: its record goes, and with it who it was. */
  async remove(id: string): Promise<Key> {
    const record = await this.read(id)
    if (isInForce(record, this.#clock())) throw reject('CONFLICT', `key ${id} is in force: revoke it first`)
    if (record.tenant === undefined) await this.#checkOthers(id)
    await this.#state.delete(keyKey(id))
    await this.#state.delete(usedKey(id))
    return record
  }

  /** Throws NOT_FOUND. */
  read(id: string): Promise<Key> {
    return readRecord(this.#state, placeOf(id))
  }

  /** Seals under the present master key what an earlier one has sealed; returns how many. */
  async reseal(): Promise<number> {
    const vault = this.#needVault()
    let resealed = 0
    for (const found of await this.#records()) {
      if (found.kind !== 'hmac' || !vault.isOutdated(found.sealed)) continue
      await changeRecord(this.#state, placeOf(found.id), (record) => {
        if (record.kind !== 'hmac' || !vault.isOutdated(record.sealed)) return record
        const plain = vault.open(record.sealed, sealContext(record))
        return { ...record, sealed: vault.seal(plain, sealContext(record)) }
      })
      resealed++
    }
    return resealed
  }

  async #store(wanted: NewKey): Promise<Made> {
    const id = newKeyId()
    const { kind, env = 'live', binding, expires_ms: expiresMs, name = '', ...owner } = wanted
    if (!ENV.test(env)) throw reject('REQUEST_INVALID', 'env must match ^[a-z0-9]{1,16}$')
    if (expiresMs !== undefined && expiresMs <= this.#clock()) {
      throw reject('REQUEST_INVALID', 'expires must lie in the future')
    }
    const common = {
      v: VERSION,
      id,
      ...owner,
      name,
      created_ms: this.#clock(),
      ...(expiresMs !== undefined && { expires_ms: expiresMs }),
    } as const
    if (kind === 'certificate') {
      return {
        key: await createRecord(this.#state, placeOf(id), { ...common, kind, binding: binding ?? '' }),
      }
    }
    const secret = newToken(env, id)
    const proof =
      kind === 'api'
        ? ({ kind, sha256: tokenDigest(secret).toString('hex') } as const)
        : ({ kind, sealed: this.#needVault().seal(Buffer.from(secret), sealContext(common)) } as const)
    return { key: await createRecord(this.#state, placeOf(id), { ...common, env, ...proof }), secret }
  }

  async #checkRoom(kind: KeyKind, tenant: string): Promise<void> {
    if (tenant === '') return
    const own = (await this.#records()).filter((record) => record.tenant === tenant)
    if (own.length >= MAX_KEYS) {
      throw reject(
        'CONFLICT',
        `tenant ${tenant} has ${MAX_KEYS} keys, which is the most: remove old ones first`,
      )
    }
    const secrets = own.filter((record) => record.kind === 'hmac' && isInForce(record, this.#clock()))
    if (kind !== 'hmac' || secrets.length < MAX_HMAC_SECRETS) return
    throw reject(
      'CONFLICT',
      `tenant ${tenant} has ${MAX_HMAC_SECRETS} HMAC secrets in force, which is the most: revoke one first`,
    )
  }

  /** Without any such record everybody who reaches the API from this machine would be admin again. */
  async #checkOthers(id: string): Promise<void> {
    const records = await this.#records()
    if (records.some((other) => other.tenant === undefined && other.id !== id)) return
    throw reject(
      'CONFLICT',
      `key ${id} is the last one of an admin over all tenants: create another one first`,
    )
  }

  /** All that can be read. */
  async #records(): Promise<Key[]> {
    const entries = await this.#state.list(stateKey('identity', 'key'))
    return entries.flatMap(({ value }) => decodeRecord(key, value) ?? [])
  }

  #needVault(): Vault {
    if (this.#vault !== undefined) return this.#vault
    throw reject(
      'REQUEST_INVALID',
      'HMAC secrets are sealed under a master key, and none is configured: set master_key of the state extension (openssl rand -base64 32) and restart',
    )
  }
}

export function isInForce(record: Key, nowMs: number): boolean {
  return record.revoked_ms === undefined && (record.expires_ms === undefined || nowMs < record.expires_ms)
}

/** What a sealed secret is bound to. */
export function sealContext({ tenant, id }: { readonly tenant?: string | undefined; readonly id: string }) {
  return [tenant ?? '', 'hmac', id]
}

/** When a key was last good, in Unix ms as text. Not below `identity`: nobody watches it. */
export function usedKey(id: string) {
  return stateKey('identity_used', id)
}

function checkScope({ kind, tenant, project, roles, binding }: NewKey): void {
  if (tenant === undefined && roles.some((role) => role !== 'admin')) {
    throw reject('REQUEST_INVALID', 'only a key with no role but admin may do without a tenant')
  }
  // The API knows no rights over one project: its key would see and change the whole tenant.
  if (project !== undefined && roles.some((role) => role !== 'ingest')) {
    throw reject('REQUEST_INVALID', 'a key of a project has the role ingest only')
  }
  if (kind !== 'api' && roles.some((role) => role !== 'ingest')) {
    throw reject('REQUEST_INVALID', `a key of kind ${kind} has the role ingest only: the API takes API keys`)
  }
  if ((kind === 'certificate') !== (binding !== undefined)) {
    throw reject(
      'REQUEST_INVALID',
      'a key of kind certificate, and no other, has a binding (san:… or spki:…)',
    )
  }
}

function placeOf(id: string): Place<typeof key> {
  return { key: keyKey(id), schema: key, what: `key ${id}` }
}
