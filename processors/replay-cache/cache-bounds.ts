import { dayKey } from '../../pipeline/run-replay/cache-record.ts'
import { stateKey, type StateStore } from '../../pipeline/state/state.ts'

/**
 * replay-used.<tenant>: bytes by day, as JSON. Written now and then by the one daemon that follows the log: after a crash
 * it counts some bytes twice, or not yet.
 */
type Used = Map<number, number>

/** What each tenant keeps. */
export class CacheBounds {
  readonly #state: StateStore
  readonly #maxBytes: number
  readonly #tenants = new Map<string, Used>()
  readonly #changed = new Set<string>()

  constructor(state: StateStore, maxBytes: number) {
    this.#state = state
    this.#maxBytes = maxBytes
  }

  /** Counts `bytes`; forgets the tenant's oldest days until they fit, all of them if it must be. */
  async makeRoom(tenant: string, day: number, bytes: number): Promise<void> {
    const used = await this.#of(tenant)
    while (used.size > 0 && total(used) + bytes > this.#maxBytes) {
      const oldest = Math.min(...used.keys())
      await this.#state.forget(dayKey(oldest, tenant))
      used.delete(oldest)
    }
    used.set(day, (used.get(day) ?? 0) + bytes)
    this.#changed.add(tenant)
  }

  async save(): Promise<void> {
    for (const tenant of this.#changed) {
      const value = Buffer.from(JSON.stringify([...(this.#tenants.get(tenant) ?? [])]))
      await this.#state.put(stateKey('replay-used', tenant), value)
    }
    this.#changed.clear()
  }

  async #of(tenant: string): Promise<Used> {
    const known = this.#tenants.get(tenant)
    if (known !== undefined) return known
    const entry = await this.#state.get(stateKey('replay-used', tenant))
    const stored =
      entry === undefined ? [] : (JSON.parse(Buffer.from(entry.value).toString()) as [number, number][])
    const used = new Map(stored)
    this.#tenants.set(tenant, used)
    return used
  }
}

function total(used: Used): number {
  return [...used.values()].reduce((sum, bytes) => sum + bytes, 0)
}
