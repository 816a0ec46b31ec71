/**
 * Small durable records with compare-and-set: cursors, frozen ranges, leases, later identity and jobs.
 * Two drivers, one contract kit: `embedded` (LMDB) and `jetstream` (JetStream KV).
 * All methods reject with Fault STATE_UNAVAILABLE (retry) when the store does not answer in time.
 */
export interface StateStore {
  /** Where it is, for messages. */
  readonly place: string
  open(): Promise<void>
  close(): Promise<void>
  get(key: StateKey): Promise<StateEntry | undefined>
  /** Unconditional write. Returns the new revision. */
  put(key: StateKey, value: Uint8Array): Promise<number>
  /** Writes only if the key is absent; undefined when it exists. */
  create(key: StateKey, value: Uint8Array): Promise<number | undefined>
  /** Writes only if the key's revision is `revision`; undefined on conflict. */
  update(key: StateKey, value: Uint8Array, revision: number): Promise<number | undefined>
  /** Deletes, if given only at that revision; false on conflict or absence. */
  delete(key: StateKey, revision?: number): Promise<boolean>
  /**
   * Removes everything below `prefix` and every trace of it, for records that nobody watches and that would otherwise
   * pile up. A record that is written meanwhile may stay or go; watchers are not told.
   */
  forget(prefix: StateKey): Promise<void>
  /** All present entries below `prefix`, by key. */
  list(prefix: StateKey): Promise<StateEntry[]>
  /** Changes below `prefix` after the call, in order, until `signal` aborts. A missed intermediate value is legal, the last one is not. */
  watch(prefix: StateKey, signal: AbortSignal): AsyncIterable<StateChange>
}

/** Tokens joined by dots, each of `[A-Za-z0-9_=-]`; build with `stateKey`. `prefix` arguments match whole tokens. */
export type StateKey = string & { readonly __state: unique symbol }

export interface StateEntry {
  readonly key: StateKey
  readonly value: Uint8Array
  /** Grows with every write of the key; never reused. */
  readonly revision: number
}

export interface StateChange {
  readonly key: StateKey
  /** Undefined: deleted. */
  readonly value: Uint8Array | undefined
  readonly revision: number
}

/** Joins parts of any text into a key; bytes outside `[A-Za-z0-9_-]` become `=XX`. */
export function stateKey(...parts: readonly string[]): StateKey {
  return parts.map(escapePart).join('.') as StateKey
}

function escapePart(part: string): string {
  if (part === '') return '='
  return part.replace(/[^A-Za-z0-9_-]/gu, (char) =>
    Array.from(Buffer.from(char), (byte) => `=${byte.toString(16).padStart(2, '0')}`).join(''),
  )
}
