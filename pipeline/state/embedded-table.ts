import { reject } from '../fault.ts'
import { openEnv, type Env, type Table } from './lmdb.ts'
import { openShared, type Share } from './lmdb-share.ts'
import type { StateChange, StateEntry, StateKey } from './state.ts'

/**
 * The state tables in one LMDB environment. Revisions are one counter over all keys, so that none is ever used again.
 *   entries   key → value, with the entry's revision as LMDB version
 *   changes   revision → flag u8 (0 written, 1 deleted) and key: the latest change of every key, what watchers read
 *   meta      'format'; 'revision' (its version is the counter) conditions every write, over all processes
 */
const FORMAT = 1
const DELETED = 1
/** Marks of deletions older than this many revisions go; a watcher polls every 100 ms and cannot be that far behind. */
const TOMBSTONES_KEPT = 65_536
const FORGET_PART = 1000
const MAP_BYTES = 16 * 1024 ** 3
const EMPTY = Buffer.alloc(0)

export interface Found {
  readonly value: Uint8Array
  readonly revision: number
}

/** A write that was already judged: what to store under which revision. `value` undefined deletes. */
export interface Write {
  readonly key: StateKey
  readonly value: Uint8Array | undefined
  readonly revision: number
  /** Revision of the entry it replaces. */
  readonly replaces: number | undefined
}

export class EmbeddedTable {
  readonly #env: Env
  readonly #entries: Table<string>
  readonly #changes: Table<number>
  readonly #meta: Table<string>
  readonly #share: Share

  static open(directory: string): Promise<EmbeddedTable> {
    return openShared(directory, (share) => new EmbeddedTable(directory, share))
  }

  private constructor(directory: string, share: Share) {
    this.#share = share
    this.#env = openEnv({
      directory,
      mapBytes: MAP_BYTES,
      remedy:
        'Stop weir, restore the directory from a copy or move it aside (then run `weir cursor adopt` for the WAL), and start again.',
    })
    this.#entries = this.#env.openDB<Buffer, string>({
      name: 'entries',
      encoding: 'binary',
      useVersions: true,
    })
    this.#changes = this.#env.openDB<Buffer, number>({ name: 'changes', encoding: 'binary' })
    this.#meta = this.#env.openDB<Buffer, string>({ name: 'meta', encoding: 'binary', useVersions: true })
    this.#prepare(directory)
  }

  #prepare(directory: string): void {
    this.#env.transactionSync(() => {
      if (this.#meta.get('format') !== undefined) return
      this.#meta.putSync('format', Buffer.from([FORMAT]), 1)
      this.#meta.putSync('revision', EMPTY, 1)
    })
    const format = this.#meta.get('format')?.[0] ?? 0
    if (format > FORMAT) {
      throw reject(
        'STATE_VERSION',
        `${directory} has state format ${format}, this weir knows ${FORMAT}: run the newer version, or restore an older copy`,
      )
    }
  }

  async close(): Promise<void> {
    await this.#share.close(() => this.#env.close())
  }

  /** Forgets the snapshot of this turn: the next read sees what other processes have written. */
  refresh(): void {
    this.#env.resetReadTxn()
  }

  get revision(): number {
    return this.#meta.getEntry('revision')?.version ?? 0
  }

  get(key: StateKey): Found | undefined {
    const entry = this.#entries.getEntry(key)
    if (entry?.version === undefined) return undefined
    return { value: entry.value, revision: entry.version }
  }

  /** Everything strictly below `prefix`, by key. */
  list(prefix: StateKey): StateEntry[] {
    const found: StateEntry[] = []
    const start = prefix === '' ? '' : `${prefix}.`
    const range = start === '' ? { versions: true } : { start, versions: true }
    for (const { key, value, version } of this.#entries.getRange(range)) {
      if (!key.startsWith(start)) break
      found.push({ key: key as StateKey, value, revision: version ?? 0 })
    }
    this.refresh()
    return found
  }

  /** Changes with a revision above `after`, in order, at most one per key. */
  changesAfter(after: number): StateChange[] {
    const found: StateChange[] = []
    this.refresh()
    for (const { key: revision, value: change } of this.#changes.getRange({ start: after + 1 })) {
      const key = change.toString('latin1', 1) as StateKey
      const value = change[0] === DELETED ? undefined : this.get(key)?.value
      found.push({ key, value, revision })
    }
    this.refresh()
    return found
  }

  /** Stores `writes` in one transaction if nothing was written since `revision`; false when another process was first. */
  async write(writes: readonly Write[], revision: number): Promise<boolean> {
    const last = writes.at(-1)?.revision ?? revision
    return this.#share.write(() =>
      this.#meta.ifVersion('revision', revision, () => {
        for (const write of writes) this.#put(write)
        this.#prune(last)
        void this.#meta.put('revision', EMPTY, last)
      }),
    )
  }

  /** Removes what lies below `prefix`, and its changes with it: part by part, so that nobody waits for long. */
  async forget(prefix: StateKey): Promise<void> {
    const start = `${prefix}.`
    for (;;) {
      this.refresh()
      const part = [...this.#entries.getRange({ start, versions: true, limit: FORGET_PART })]
        .filter(({ key }) => key.startsWith(start))
        .map(({ key, version }) => ({ key, revision: version ?? 0 }))
      if (part.length === 0) return
      await this.#share.write(() =>
        this.#meta.ifVersion('revision', this.revision, () => {
          for (const { key, revision } of part) {
            void this.#entries.remove(key)
            void this.#changes.remove(revision)
          }
        }),
      )
    }
  }

  #put({ key, value, revision, replaces }: Write): void {
    if (replaces !== undefined) void this.#changes.remove(replaces)
    const change = Buffer.alloc(1 + key.length)
    change.write(key, 1, 'latin1')
    if (value === undefined) {
      change[0] = DELETED
      void this.#entries.remove(key)
    } else {
      void this.#entries.put(key, Buffer.from(value), revision)
    }
    void this.#changes.put(revision, change)
  }

  #prune(revision: number): void {
    for (const { key, value } of this.#changes.getRange({ start: 0, limit: 2 })) {
      if (key < revision - TOMBSTONES_KEPT && value[0] === DELETED) void this.#changes.remove(key)
    }
  }
}
