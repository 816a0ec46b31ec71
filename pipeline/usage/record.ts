import { reject } from '../fault.ts'
import { stateKey, type StateKey } from '../state/state.ts'
import type { Spent } from './usage.ts'

/**
 * `usage.<day>.<tenant>.<shard>` → JSON. A tenant's day is the sum of its shards: each process adds to one of them, so
 * that daemons do not wait for each other's compare-and-set.
 */
interface StoredUsage {
  readonly v: 1
  readonly spans: number
  /** Decimal: it outgrows a double. */
  readonly picoUsd: string
}

export const SHARDS = 8

export function usagePrefix(day?: string): StateKey {
  return day === undefined ? stateKey('usage') : stateKey('usage', day)
}

export function usageKey(day: string, tenant: string, shard: number): StateKey {
  return stateKey('usage', day, tenant, String(shard))
}

/** Tenant ids hold no character that a key escapes (`TENANT` in admission.ts). */
export function partsOf(key: StateKey): { readonly day: string; readonly tenant: string } {
  const [, day = '', tenant = ''] = key.split('.')
  return { day, tenant }
}

export function encodeUsage({ spans, picoUsd }: Spent): Uint8Array {
  const stored: StoredUsage = { v: 1, spans, picoUsd: String(picoUsd) }
  return Buffer.from(JSON.stringify(stored))
}

export function decodeUsage(key: StateKey, value: Uint8Array): Spent {
  const stored = JSON.parse(Buffer.from(value).toString()) as StoredUsage
  if (stored.v !== 1) {
    throw reject('STATE_VERSION', `${key} has format ${String(stored.v)}; this weir reads up to 1`)
  }
  return { spans: stored.spans, picoUsd: BigInt(stored.picoUsd) }
}
