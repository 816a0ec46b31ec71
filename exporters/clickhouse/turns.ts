import { randomBytes } from 'node:crypto'
import { hostname } from 'node:os'
import { anyOf } from '../../pipeline/any-of.ts'
import { digestOf } from '../../pipeline/digest.ts'
import { retry } from '../../pipeline/fault.ts'
import { within } from '../../pipeline/net/within.ts'
import { acquireLease, leaseHolder } from '../../pipeline/state/lease.ts'
import type { StateStore } from '../../pipeline/state/state.ts'

/** How long one waits for another, if it does not say, before it tells who that is. */
const WAIT_MS = 20_000

interface Wanted {
  /** Equal for all who have the table. */
  readonly table: string
  /** Told to others who want it. */
  readonly what: string
  readonly waitMs?: number
}

/**
 * Redaction, replay and repricing read rows and put others in their place: two at a time would undo each other's work, or
 * leave a row twice. So they take turns: in all daemons of one state store by a lease on the table, and in this process also
 * where a lease was lost and who had it is still putting back what it had deleted.
 */
export class TableTurns {
  readonly #state: StateStore
  #last: Promise<unknown> = Promise.resolve()

  constructor(state: StateStore) {
    this.#state = state
  }

  /** Everything that was begun here has ended. */
  get settled(): Promise<unknown> {
    return this.#last
  }

  /** The signal of `work` also aborts when the turn is lost. Throws EXPORT_UNAVAILABLE (retry) that names who is at it. */
  async take<T>(wanted: Wanted, signal: AbortSignal, work: (turn: AbortSignal) => Promise<T>): Promise<T> {
    const { what } = wanted
    const lease = await this.#lease(wanted, signal)
    const ended = anyOf([signal, lease.lost])
    try {
      await within(ended.signal, undefined, this.#last)
      if (ended.signal.aborted) throw retry('EXPORT_UNAVAILABLE', `clickhouse: ${what} was interrupted`)
      const done = work(ended.signal)
      this.#last = done.catch(() => undefined)
      return await done
    } finally {
      ended.clear()
      await lease.release()
    }
  }

  async #lease({ table, what, waitMs = WAIT_MS }: Wanted, signal: AbortSignal) {
    const name = `rewrite ${digestOf('table', table).toString('hex')}`
    const late = new AbortController()
    const timer = setTimeout(() => late.abort(), waitMs)
    const waiting = anyOf([signal, late.signal])
    // Unique: who comes under the name of another would take its turn over.
    const holder = `${what} on ${hostname()} (${randomBytes(4).toString('hex')})`
    try {
      const lease = await acquireLease(this.#state, name, holder, { signal: waiting.signal })
      if (lease !== undefined) return lease
    } finally {
      clearTimeout(timer)
      waiting.clear()
    }
    if (signal.aborted) throw retry('EXPORT_UNAVAILABLE', `clickhouse: ${what} was interrupted`)
    const other = await leaseHolder(this.#state, name)
    const why = other === undefined ? 'was just being rewritten' : `is being rewritten by ${other}`
    throw retry('EXPORT_UNAVAILABLE', `clickhouse: the table ${why}: come again when that has ended`)
  }
}
