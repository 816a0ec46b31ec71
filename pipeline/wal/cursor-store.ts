import { faultOf, messageOf, retry } from '../fault.ts'
import { sleep } from '../sleep.ts'
import type { StateEntry, StateStore } from '../state/state.ts'
import {
  cursorKey,
  cursorPrefix,
  decodeCursor,
  encodeCursor,
  newCursor,
  type CursorRecord,
} from './cursor-record.ts'
import { Backoff } from './reader-backoff.ts'

/** Every cursor record of a connector, of configured exporters and of gone ones. */
export async function listCursors(
  state: StateStore,
  connector: string,
): Promise<{ readonly record: CursorRecord; readonly entry: StateEntry }[]> {
  const entries = await state.list(cursorPrefix(connector))
  return entries.map((entry) => ({ record: decodeCursor(entry.key, entry.value), entry }))
}

/** The highest sequence that a cursor has passed; 0 without any. */
export async function highestPassed(state: StateStore, connector: string): Promise<number> {
  const cursors = await listCursors(state, connector).catch((error: unknown) => {
    // Nothing is wrong with the spans that wait for this: they may come again.
    if (faultOf(error)?.verdict.do === 'retry') throw error
    throw retry('STATE_UNAVAILABLE', `how far the WAL was read is not known: ${messageOf(error)}`, 1000, {
      cause: error,
    })
  })
  return Math.max(0, ...cursors.map(({ record }) => Math.max(record.position - 1, record.frozen?.to ?? 0)))
}

/** Makes the record at `position` unless it exists; the one that counts is returned. */
export async function registerCursor(
  state: StateStore,
  connector: string,
  cursor: string,
  position: number,
  nowMs: number,
): Promise<CursorRecord> {
  const key = cursorKey(connector, cursor)
  const present = await state.get(key)
  if (present !== undefined) return decodeCursor(key, present.value)
  const record = newCursor(cursor, position, nowMs)
  if ((await state.create(key, encodeCursor(record))) !== undefined) return record
  return registerCursor(state, connector, cursor, position, nowMs)
}

/**
 * A cursor's record in the hands of the lease's holder. Every change is a compare-and-set: who lost the lease finds
 * out here at the latest, and can do no more than repeat a delivery whose token is known.
 */
export class HeldCursor {
  readonly #state: StateStore
  readonly #connector: string
  readonly #fence: number
  readonly #clock: () => number
  #record: CursorRecord
  #revision: number
  #saving: Promise<void> = Promise.resolve()

  private constructor(
    state: StateStore,
    connector: string,
    fence: number,
    clock: () => number,
    record: CursorRecord,
    revision: number,
  ) {
    this.#state = state
    this.#connector = connector
    this.#fence = fence
    this.#clock = clock
    this.#record = record
    this.#revision = revision
  }

  static async take(
    state: StateStore,
    connector: string,
    cursor: string,
    fence: number,
    clock: () => number,
  ): Promise<HeldCursor> {
    const key = cursorKey(connector, cursor)
    const entry = await state.get(key)
    if (entry === undefined) {
      throw retry(
        'STATE_UNAVAILABLE',
        `cursor ${cursor} has no record; was it removed? A restart registers it`,
      )
    }
    const record = decodeCursor(key, entry.value)
    if (record.fence > fence) throw lost(cursor)
    return new HeldCursor(state, connector, fence, clock, record, entry.revision)
  }

  get record(): CursorRecord {
    return this.#record
  }

  /**
   * Writes the change after those that were asked for before, trying again while the state store does not answer. Throws LEASE_LOST when another holder
   * wrote, and what the store said once `signal` aborts.
   */
  save(change: Partial<CursorRecord>, signal: AbortSignal): Promise<void> {
    const turn = this.#saving.then(() => this.#write(change, signal))
    this.#saving = turn.catch(() => undefined)
    return turn
  }

  async #write(change: Partial<CursorRecord>, signal: AbortSignal): Promise<void> {
    const next = { ...this.#record, ...change, fence: this.#fence, updatedMs: this.#clock() }
    const key = cursorKey(this.#connector, next.cursor)
    const value = encodeCursor(next)
    const backoff = new Backoff(100, 5000)
    for (;;) {
      try {
        const revision = (await this.#state.update(key, value, this.#revision)) ?? (await this.#landed(value))
        if (revision === undefined) throw lost(next.cursor)
        this.#record = next
        this.#revision = revision
        return
      } catch (error) {
        const fault = faultOf(error)
        const passing = fault?.code === 'STATE_UNAVAILABLE' && fault.verdict.do === 'retry'
        if (!passing || signal.aborted) throw error
        await sleep(backoff.nextMs(), signal)
      }
    }
  }

  /** A write whose answer was lost looks like a conflict with ourselves: the fence in it tells whose it is. */
  async #landed(value: Uint8Array): Promise<number | undefined> {
    const entry = await this.#state.get(cursorKey(this.#connector, this.#record.cursor))
    return entry !== undefined && Buffer.compare(entry.value, value) === 0 ? entry.revision : undefined
  }
}

function lost(cursor: string) {
  return retry('LEASE_LOST', `another daemon drives cursor ${cursor} now`)
}
