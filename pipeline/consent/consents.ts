import { reject } from '../fault.ts'
import type { Directory } from '../identity/directory.ts'
import { VERSION } from '../identity/records.ts'
import { newKeyId } from '../identity/token.ts'
import { changeRecord, createRecord, decodeRecord, readRecord, type Place } from '../identity/writes.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import { consent, consentKey, type Consent, type ConsentType } from './record.ts'

/** Every daemon keeps all of them in memory. */
const MAX_PER_TENANT = 5000

export interface NewConsent {
  readonly type: ConsentType
  readonly runs?: readonly string[]
  readonly granted_by: string
  readonly note?: string
  readonly expires_ms?: number
}

/** Writes consents. All of it also works without a daemon. */
export class Consents {
  readonly #state: StateStore
  readonly #directory: Pick<Directory, 'tenant'>
  readonly #clock: () => number

  constructor(state: StateStore, directory: Pick<Directory, 'tenant'>, clock: () => number) {
    this.#state = state
    this.#directory = directory
    this.#clock = clock
  }

  /** Throws NOT_FOUND for a tenant that there is none of. */
  async grant(tenant: string, wanted: NewConsent): Promise<Consent> {
    const nowMs = this.#clock()
    if (wanted.expires_ms !== undefined && wanted.expires_ms <= nowMs) {
      throw reject('REQUEST_INVALID', 'expires must lie in the future')
    }
    // Without auth everything is of this tenant, which nobody has created.
    if (tenant !== 'default') await this.#directory.tenant(tenant)
    if ((await this.list(tenant)).length >= MAX_PER_TENANT) {
      throw reject('CONFLICT', `tenant ${tenant} has ${MAX_PER_TENANT} consents, which is the most`)
    }
    const id = newKeyId()
    const { type, granted_by, note = '', runs, expires_ms } = wanted
    return createRecord(this.#state, placeOf(tenant, id), {
      v: VERSION,
      tenant,
      id,
      type,
      granted_by,
      note,
      granted_ms: nowMs,
      ...(runs !== undefined && { runs }),
      ...(expires_ms !== undefined && { expires_ms }),
    })
  }

  /** For ever; a second time changes nothing. Throws NOT_FOUND. */
  revoke(tenant: string, id: string, by: string): Promise<Consent> {
    return changeRecord(this.#state, placeOf(tenant, id), (record) =>
      record.revoked_ms === undefined ? { ...record, revoked_ms: this.#clock(), revoked_by: by } : record,
    )
  }

  /** Throws NOT_FOUND. */
  read(tenant: string, id: string): Promise<Consent> {
    return readRecord(this.#state, placeOf(tenant, id))
  }

  /** All that can be read, the oldest first. */
  async list(tenant: string): Promise<Consent[]> {
    const entries = await this.#state.list(stateKey('identity', 'consent', tenant))
    return entries
      .flatMap(({ value }) => decodeRecord(consent, value) ?? [])
      .sort((a, b) => a.granted_ms - b.granted_ms || (a.id < b.id ? -1 : 1))
  }
}

function placeOf(tenant: string, id: string): Place<typeof consent> {
  return { key: consentKey(tenant, id), schema: consent, what: `consent ${id} of tenant ${tenant}` }
}

/** All of the store, or of one tenant. Throws STATE_VERSION for one that cannot be read: it may allow what would be deleted. */
export async function everyConsent(state: StateStore, tenant?: string): Promise<readonly Consent[]> {
  const below = tenant === undefined ? [] : [tenant]
  const entries = await state.list(stateKey('identity', 'consent', ...below))
  return entries.map(({ key, value }) => {
    const record = decodeRecord(consent, value)
    if (record !== undefined) return record
    throw reject('STATE_VERSION', `the consent ${key} cannot be read by this weir: upgrade this daemon`)
  })
}
