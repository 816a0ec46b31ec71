import { retry } from '../fault.ts'
import type { StateKey, StateStore } from './state.ts'

/**
 * Writes records that the holder of a lease has to itself: a write of somebody who lost the lease and does not know it
 * yet must not come after one of the next holder. The first write of a key is made at the revision that is found, once
 * `confirm` has shown that the lease is still ours; those behind it at the revision of the one before.
 */
export class FencedWriter {
  readonly #state: StateStore
  readonly #confirm: () => Promise<void>
  #last: { readonly key: StateKey; readonly revision: number } | undefined

  /** `confirm` writes, under the lease's fence, what all holders write; rejects with LEASE_LOST. */
  constructor(state: StateStore, confirm: () => Promise<void>) {
    this.#state = state
    this.#confirm = confirm
  }

  /** Rejects with LEASE_LOST when another one wrote it; with STATE_UNAVAILABLE it may or may not be written. */
  async write(key: StateKey, value: Uint8Array): Promise<void> {
    const known = this.#last?.key === key ? this.#last.revision : undefined
    this.#last = undefined
    const present = known ?? (await this.#found(key))
    const revision =
      present === undefined
        ? await this.#state.create(key, value)
        : await this.#state.update(key, value, present)
    if (revision === undefined) throw retry('LEASE_LOST', `another daemon writes ${key}`)
    this.#last = { key, revision }
  }

  async #found(key: StateKey): Promise<number | undefined> {
    const entry = await this.#state.get(key)
    await this.#confirm()
    return entry?.revision
  }
}
