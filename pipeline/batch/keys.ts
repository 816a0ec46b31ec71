import { KeyInterner } from '../../proto/intern.ts'

/** An interned attribute key. Known names are interned at load by `keyId('…')`; the scan interns what it meets, up to a bound. */
export type KeyId = number & { readonly __key: unique symbol }

/**
 * Keys that scans may intern in the life of the process; what comes after is FOREIGN, and only slower.
 * (16,384 names of at most 256 bytes: 8 MiB at worst.)
 */
export const KEY_LIMIT = 16_384

/** `batch.keyId` of an attribute whose key found no room, or is 256 bytes or longer: tell such keys apart by `batch.key`. */
export const FOREIGN = 0 as KeyId

/** The process's keys, shared by all batches. */
export const KEYS = new KeyInterner(KEY_LIMIT)

/** The id of a key that code or config names; call it at load or in `create`, not per span. */
export function keyId(name: string): KeyId {
  return KEYS.id(name) as KeyId
}

/** '' for FOREIGN. */
export function keyName(id: KeyId): string {
  return KEYS.name(id)
}

/** The UTF-8 bytes of the key; empty for FOREIGN. Shared: do not write to them. */
export function keyBytes(id: KeyId): Uint8Array {
  return KEYS.bytes(id)
}
