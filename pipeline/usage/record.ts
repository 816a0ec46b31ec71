import { reject } from '../fault.ts'
import { stateKey, type StateKey } from '../state/state.ts'
import type { Spent } from './usage.ts'

/**
 * `usage.<day>.<account>.<shard>` → JSON. An account's day is the sum of its shards: each process adds to one of them, so
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

export function usageKey(day: string, account: string, shard: number): StateKey {
  return stateKey('usage', day, account, String(shard))
}

/** `token`: the account as it stands in a key. */
export function partsOf(key: StateKey): { readonly day: string; readonly token: string } {
  const [, day = '', token = ''] = key.split('.')
  return { day, token }
}

export function encodeUsage({ spans, picoUsd }: Spent): Uint8Array {
  const stored: StoredUsage = { v: 1, spans, picoUsd: String(picoUsd) }
  return Buffer.from(JSON.stringify(stored))
}

/** Undefined for what is damaged: one counter must not keep a daemon from starting, or the others from being read. */
export function decodeUsage(key: StateKey, value: Uint8Array): Spent | undefined {
  const stored = parsed(value)
  if (stored === undefined) return undefined
  if (stored.v !== 1) {
    throw reject('STATE_VERSION', `${key} has format ${String(stored.v)}; this weir reads up to 1`)
  }
  return { spans: stored.spans, picoUsd: BigInt(stored.picoUsd) }
}

function parsed(value: Uint8Array): StoredUsage | undefined {
  try {
    return JSON.parse(Buffer.from(value).toString()) as StoredUsage
  } catch {
    return undefined
  }
}
