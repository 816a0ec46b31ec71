import { resolve } from 'node:path'
import { retry } from '../fault.ts'
import { Changes } from './changes.ts'
import { within } from './deadline.ts'
import { EmbeddedTable, type Found, type Write } from './embedded-table.ts'
import { checkRecord } from './limits.ts'
import { writeFault } from './lmdb.ts'
import type { StateChange, StateEntry, StateKey, StateStore } from './state.ts'

const TIMEOUT_MS = 10_000
const POLL_MS = 100
const GROUP = 256
interface Operation {
  readonly key: StateKey
  /** Undefined deletes. */
  readonly value: Uint8Array | undefined
  /** What the key's present revision must be: `any`, `absent`, or a number. */
  readonly expect: 'any' | 'absent' | 'present' | number
  readonly resolve: (revision: number | undefined) => void
  readonly reject: (error: Error) => void
}

/**
 * State in one LMDB file that several processes open. Writes that wait together are judged in order against one
 * snapshot and stored in one transaction, conditioned on the store's revision: another process that was first only
 * makes them be judged again.
 */
export class EmbeddedState implements StateStore {
  readonly place: string
  readonly #directory: string
  readonly #changes: Changes
  readonly #queue: Operation[] = []
  #writing: Promise<void> | undefined
  #table: EmbeddedTable | undefined

  constructor(directory: string) {
    this.#directory = directory
    this.place = resolve(directory)
    this.#changes = new Changes(POLL_MS, () => this.#table)
  }

  async open(): Promise<void> {
    this.#table ??= await EmbeddedTable.open(this.#directory)
  }

  async close(): Promise<void> {
    const table = this.#table
    if (table === undefined) return
    while (this.#writing !== undefined) await this.#writing
    this.#table = undefined
    this.#changes.close()
    await table.close()
  }

  async get(key: StateKey): Promise<StateEntry | undefined> {
    const table = this.#opened()
    table.refresh()
    const found = table.get(key)
    return found && { key, ...found }
  }

  async put(key: StateKey, value: Uint8Array): Promise<number> {
    const revision = await this.#write(key, value, 'any')
    if (revision === undefined) throw retry('STATE_UNAVAILABLE', `the state record ${key} was not written`)
    return revision
  }

  create(key: StateKey, value: Uint8Array): Promise<number | undefined> {
    return this.#write(key, value, 'absent')
  }

  update(key: StateKey, value: Uint8Array, revision: number): Promise<number | undefined> {
    return this.#write(key, value, revision)
  }

  async delete(key: StateKey, revision?: number): Promise<boolean> {
    return (await this.#write(key, undefined, revision ?? 'present')) !== undefined
  }

  async forget(prefix: StateKey): Promise<void> {
    try {
      await this.#opened().forget(prefix)
    } catch (error) {
      throw await writeFault(error, this.#directory, {
        full: 'STATE_UNAVAILABLE',
        failed: 'STATE_UNAVAILABLE',
      })
    }
  }

  async list(prefix: StateKey): Promise<StateEntry[]> {
    const table = this.#opened()
    table.refresh()
    return table.list(prefix)
  }

  watch(prefix: StateKey, signal: AbortSignal): AsyncIterable<StateChange> {
    const table = this.#opened()
    table.refresh()
    return this.#changes.watch(prefix, table.revision, signal)
  }

  async #write(
    key: StateKey,
    value: Uint8Array | undefined,
    expect: Operation['expect'],
  ): Promise<number | undefined> {
    this.#opened()
    checkRecord(key, value)
    const written = new Promise<number | undefined>((resolve, reject) => {
      this.#queue.push({ key, value: value && Buffer.from(value), expect, resolve, reject })
      this.#writing ??= this.#drain()
    })
    return within(TIMEOUT_MS, written, () =>
      retry(
        'STATE_UNAVAILABLE',
        `the state store in ${this.#directory} did not confirm a write in time`,
        1000,
      ),
    )
  }

  async #drain(): Promise<void> {
    await Promise.resolve()
    while (this.#queue.length > 0) await this.#commit(this.#queue.splice(0, GROUP))
    this.#writing = undefined
  }

  async #commit(group: readonly Operation[]): Promise<void> {
    try {
      const results = await this.#store(this.#opened(), group)
      for (const [at, operation] of group.entries()) operation.resolve(results[at])
      this.#changes.notify()
    } catch (error) {
      const fault = await writeFault(error, this.#directory, {
        full: 'STATE_UNAVAILABLE',
        failed: 'STATE_UNAVAILABLE',
      })
      for (const operation of group) operation.reject(fault)
    }
  }

  async #store(table: EmbeddedTable, group: readonly Operation[]): Promise<(number | undefined)[]> {
    for (;;) {
      table.refresh()
      const base = table.revision
      const { results, writes } = judge(table, group, base)
      if (writes.length === 0 || (await table.write(writes, base))) return results
    }
  }

  #opened(): EmbeddedTable {
    if (this.#table === undefined) throw retry('STATE_UNAVAILABLE', 'the state store is not open')
    return this.#table
  }
}

/** Decides each operation as if the ones before it were done; `results` holds the new revision or undefined. */
function judge(table: EmbeddedTable, group: readonly Operation[], base: number) {
  const ahead = new Map<StateKey, Found | undefined>()
  const results: (number | undefined)[] = []
  const writes: Write[] = []
  let revision = base
  for (const { key, value, expect } of group) {
    const present = ahead.has(key) ? ahead.get(key) : table.get(key)
    if (!fits(present, expect)) {
      results.push(undefined)
      continue
    }
    revision++
    writes.push({ key, value, revision, replaces: present?.revision })
    ahead.set(key, value && { value, revision })
    results.push(revision)
  }
  return { results, writes }
}

function fits(present: Found | undefined, expect: Operation['expect']): boolean {
  if (expect === 'any') return true
  if (expect === 'absent') return present === undefined
  if (expect === 'present') return present !== undefined
  return present?.revision === expect
}
