import { consent, type Consent } from '../consent/record.ts'
import { messageOf } from '../fault.ts'
import type { StateChange, StateKey } from '../state/state.ts'
import {
  agent,
  key,
  project,
  tenant,
  VERSION,
  type Agent,
  type HmacKey,
  type Key,
  type Project,
  type Tenant,
} from './records.ts'

/** Why a record is not used, for the log. */
export type Trouble = (stateKey: StateKey, reason: string) => void

interface Known {
  readonly revision: number
  readonly remove: () => void
}

/** The records of a store, ready to be looked up. What cannot be read counts as absent: nobody gets in by it. */
export class Tables {
  readonly tenants = new Map<string, Tenant>()
  readonly projects = new Map<string, Project>()
  readonly agents = new Map<string, Agent>()
  readonly keys = new Map<string, Key>()
  readonly bindings = new Map<string, Key>()
  /** HMAC secrets by tenant. */
  readonly secrets = new Map<string, readonly HmacKey[]>()
  /** By tenant. */
  readonly consents = new Map<string, readonly Consent[]>()
  /** Records that are there and cannot be used. */
  readonly unreadable = new Set<StateKey>()
  readonly #known = new Map<StateKey, Known>()
  readonly #trouble: Trouble
  #revision = 0

  constructor(trouble: Trouble) {
    this.#trouble = trouble
  }

  /** Changes come in any order; the highest revision of a key stays. */
  apply(change: StateChange): void {
    const before = this.#known.get(change.key)
    if (before !== undefined && before.revision >= change.revision) return
    before?.remove()
    this.#revision = Math.max(this.#revision, change.revision)
    const remove = change.value === undefined ? undefined : this.#add(change.key, change.value)
    this.#known.set(change.key, { revision: change.revision, remove: remove ?? (() => undefined) })
  }

  /** The highest revision that was applied. */
  get revision(): number {
    return this.#revision
  }

  /** The whole store as it is: what is not in it is gone, unless it came after revision `asOf`. */
  replace(entries: readonly StateChange[], asOf: number): void {
    const present = new Set(entries.map((entry) => entry.key))
    for (const [key, known] of this.#known) {
      if (present.has(key) || known.revision > asOf) continue
      known.remove()
      this.#known.delete(key)
    }
    for (const entry of entries) this.apply(entry)
  }

  #add(stateKey: StateKey, value: Uint8Array): () => void {
    try {
      const record: unknown = JSON.parse(Buffer.from(value).toString())
      if ((record as { v?: unknown }).v !== VERSION)
        throw new Error('it was written by another version of weir')
      return this.#put(stateKey.split('.')[1] ?? '', record)
    } catch (error) {
      this.#trouble(stateKey, messageOf(error))
      this.unreadable.add(stateKey)
      return () => this.unreadable.delete(stateKey)
    }
  }

  #put(kind: string, record: unknown): () => void {
    switch (kind) {
      case 'tenant':
        return put(this.tenants, tenant.parse(record), ({ id }) => id)
      case 'project':
        return put(this.projects, project.parse(record), pathOf)
      case 'agent':
        return put(this.agents, agent.parse(record), pathOf)
      case 'key':
        return this.#putKey(key.parse(record))
      case 'consent':
        return putAmong(this.consents, consent.parse(record))
      default:
        throw new Error('nothing of this kind is known')
    }
  }

  #putKey(record: Key): () => void {
    const remove = put(this.keys, record, ({ id }) => id)
    if (record.kind === 'hmac') return this.#putSecret(record, remove)
    // Of several for one certificate only one is in force: a revoked or expired one leaves the place to the others.
    if (record.kind !== 'certificate' || record.revoked_ms !== undefined) return remove
    const { binding } = record
    this.#bind(record, binding)
    return () => {
      remove()
      if (this.bindings.get(binding) === record) this.#rebind(binding)
    }
  }

  #putSecret(record: HmacKey, remove: () => void): () => void {
    const removeSecret = putAmong(this.secrets, record)
    return () => {
      remove()
      removeSecret()
    }
  }

  #rebind(binding: string): void {
    this.bindings.delete(binding)
    for (const other of this.keys.values()) {
      if (other.kind === 'certificate' && other.binding === binding && other.revoked_ms === undefined) {
        this.#bind(other, binding)
      }
    }
  }

  #bind(record: Key, binding: string): void {
    const bound = this.bindings.get(binding)
    if (bound === undefined || outlasts(record, bound)) this.bindings.set(binding, record)
  }
}

function put<T>(map: Map<string, T>, record: T, idOf: (record: T) => string): () => void {
  const id = idOf(record)
  map.set(id, record)
  return () => {
    if (map.get(id) === record) map.delete(id)
  }
}

/** Into the list of its tenant. */
function putAmong<T extends { readonly id: string; readonly tenant?: string | undefined }>(
  map: Map<string, readonly T[]>,
  record: T,
): () => void {
  const tenant = record.tenant ?? ''
  const others = () => (map.get(tenant) ?? []).filter(({ id }) => id !== record.id)
  map.set(tenant, [...others(), record])
  return () => {
    const left = others()
    if (left.length > 0) map.set(tenant, left)
    else map.delete(tenant)
  }
}

/** For every daemon the same, in whatever order it reads them. */
function outlasts(a: Key, b: Key): boolean {
  const more = (a.expires_ms ?? Infinity) - (b.expires_ms ?? Infinity)
  // Two without an end: NaN.
  if (more !== 0 && !Number.isNaN(more)) return more > 0
  return a.created_ms === b.created_ms ? a.id > b.id : a.created_ms > b.created_ms
}

/** A tenant's id holds no slash. */
export function pathOf({ tenant, id }: { readonly tenant: string; readonly id: string }): string {
  return `${tenant}/${id}`
}
