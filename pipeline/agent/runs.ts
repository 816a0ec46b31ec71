import type { StateStore } from '../state/state.ts'
import type { RunId } from './ids.ts'
import {
  decode,
  decodeRecord,
  encode,
  KEYS_PER_PAGE,
  pageKey,
  recordKey,
  type KeyEntry,
  type RunRecord,
} from './run-record.ts'

/** What a step sees. */
export interface RunView {
  /** Undefined: there is no such run. */
  readonly record: RunRecord | undefined
  /** The batch of that key, if it is remembered. */
  readonly find: (key: string) => KeyEntry | undefined
}

/** One change of a record: pure, as it may be run again on a newer record. Throws a Fault to refuse. */
export type Step<T> = (view: RunView) => { readonly record?: RunRecord | undefined; readonly result: T }

interface Waiting {
  readonly step: Step<unknown>
  readonly resolve: (result: unknown) => void
  readonly reject: (error: unknown) => void
}

/** What this daemon knows of a run. The record may be old; a write on it then fails, and it is read again. */
interface Known {
  readonly run: RunId
  record: RunRecord | undefined
  revision: number
  readonly waiting: Waiting[]
  writing: Promise<void> | undefined
  /** Keys whose batch is in the WAL, not yet written down. */
  readonly answered: Set<string>
  /** `createdMs` of the record that the keys below are of: a run that was forgotten may begin anew. */
  bornMs: number | undefined
  /** Keys in pages `[read.first, read.end)`. */
  readonly older: Map<string, KeyEntry>
  read: { first: number; end: number }
  /** What of it counts as held. */
  weight: number
}

export interface RunStoreOptions {
  readonly state: () => StateStore
  /** How long an answer may be known to this daemon only. Until then a repeat elsewhere looks into the WAL. */
  readonly noteAfterMs?: number
  /** Keys, open requests and runs held in memory, in units of one key. */
  readonly maxHeld?: number
}

const NOTE_AFTER_MS = 1000
const MAX_HELD = 200_000
/** A record above that gives its oldest keys to a page; above twice that also those without an answer. */
const MAX_KEYS = 2 * KEYS_PER_PAGE

/**
 * Run records in state. Steps of one run that wait together are applied in order and written by one compare-and-set,
 * so that concurrent senders of a run cost one write, not one each.
 */
export class RunStore {
  readonly #options: RunStoreOptions
  readonly #known = new Map<string, Known>()
  #held = 0
  #notes: NodeJS.Timeout | undefined

  constructor(options: RunStoreOptions) {
    this.#options = options
  }

  /** Rejects with what the step throws, or STATE_UNAVAILABLE (retry). */
  change<T>(run: RunId, step: Step<T>): Promise<T> {
    const known = this.#of(run)
    return new Promise<T>((resolve, reject) => {
      known.waiting.push({ step, resolve: resolve as (result: unknown) => void, reject })
      known.writing ??= this.#drain(known)
    })
  }

  /** As state has it now. */
  async read(run: RunId): Promise<RunRecord | undefined> {
    const entry = await this.#options.state().get(recordKey(run))
    return entry && decodeRecord(entry.value)
  }

  /** The WAL has the batch of that key: written down with the run's next change, or a little later. */
  noteAnswered(run: RunId, key: string): void {
    this.#of(run).answered.add(key)
    this.#notes ??= setTimeout(() => {
      this.#notes = undefined
      void this.flush()
    }, this.#options.noteAfterMs ?? NOTE_AFTER_MS).unref()
  }

  /** Writes down what is only known here. Never rejects: what is not written is found in the WAL. */
  async flush(): Promise<void> {
    const noted = [...this.#known.values()].filter(({ answered }) => answered.size > 0)
    await Promise.allSettled(
      noted.map(({ run }) => this.change(run, ({ record }) => ({ record, result: undefined }))),
    )
  }

  async stop(): Promise<void> {
    clearTimeout(this.#notes)
    await this.flush()
  }

  #of(run: RunId): Known {
    const id = `${run.tenant}.${run.trace}`
    const found = this.#known.get(id)
    if (found !== undefined) {
      this.#known.delete(id)
      this.#known.set(id, found)
      return found
    }
    const made: Known = {
      run,
      record: undefined,
      revision: 0,
      waiting: [],
      writing: undefined,
      answered: new Set(),
      bornMs: undefined,
      older: new Map(),
      read: { first: 0, end: 0 },
      weight: 1,
    }
    this.#known.set(id, made)
    this.#held++
    this.#evict()
    return made
  }

  #evict(): void {
    const max = this.#options.maxHeld ?? MAX_HELD
    for (const [id, known] of this.#known) {
      if (this.#held <= max) return
      if (known.writing !== undefined || known.answered.size > 0) continue
      this.#held -= known.weight
      this.#known.delete(id)
    }
  }

  async #drain(known: Known): Promise<void> {
    // What arrives in this turn goes along.
    await Promise.resolve()
    while (known.waiting.length > 0) {
      const steps = known.waiting.splice(0)
      try {
        await this.#write(known, steps)
      } catch (error) {
        known.record = undefined
        for (const { reject } of steps) reject(error)
      }
    }
    known.writing = undefined
    const weight = weightOf(known)
    this.#held += weight - known.weight
    known.weight = weight
    this.#evict()
  }

  async #write(known: Known, steps: readonly Waiting[]): Promise<void> {
    const state = this.#options.state()
    let isFresh = known.record === undefined
    if (isFresh) await this.#read(known, state)
    for (;;) {
      await this.#readPages(known, state)
      const applied = apply(known, steps)
      // What an old record refuses, or has already, is not so with a new one, or with none any more.
      if ((applied.refused || applied.record === undefined) && !isFresh) {
        await this.#read(known, state)
        isFresh = true
        continue
      }
      if (applied.record === undefined || (await this.#store(known, applied.record, state))) {
        for (const answer of applied.answers) answer()
        return
      }
      await this.#read(known, state)
      isFresh = true
    }
  }

  async #read(known: Known, state: StateStore): Promise<void> {
    const entry = await state.get(recordKey(known.run))
    known.record = entry && decodeRecord(entry.value)
    known.revision = entry?.revision ?? 0
    if (known.record?.createdMs === known.bornMs) return
    known.bornMs = known.record?.createdMs
    known.older.clear()
    known.read = { first: 0, end: 0 }
  }

  /** Brings the older keys up to what the record says. */
  async #readPages(known: Known, state: StateStore): Promise<void> {
    const [first, end] = known.record?.pages ?? [0, 0]
    if (first > known.read.first) {
      // Keys of pages that are gone may stay in memory: to know too much is no harm.
      known.read.first = first
      known.read.end = Math.max(known.read.end, first)
    }
    for (let page = known.read.end; page < end; page++) {
      const entry = await state.get(pageKey(known.run, page))
      for (const key of entry === undefined ? [] : (decode(entry.value) as KeyEntry[]))
        known.older.set(key.key, key)
      known.read.end = page + 1
    }
  }

  async #store(known: Known, record: RunRecord, state: StateStore): Promise<boolean> {
    const slim = await this.#spill(known, record, state)
    const key = recordKey(known.run)
    const bytes = encode(slim)
    const revision =
      known.revision === 0 ? await state.create(key, bytes) : await state.update(key, bytes, known.revision)
    if (revision === undefined) return false
    known.record = slim
    known.bornMs = slim.createdMs
    known.revision = revision
    if (known.answered.size > 0) {
      const unanswered = new Set(
        slim.keys.flatMap(({ key, pending }) => (pending === undefined ? [] : [key])),
      )
      for (const key of known.answered) if (!unanswered.has(key)) known.answered.delete(key)
    }
    return true
  }

  /**
   * The oldest keys never change once they are the oldest, so that a page has one content whoever writes it, and one
   * left over by a write that failed is right as it is.
   */
  async #spill(known: Known, record: RunRecord, state: StateStore): Promise<RunRecord> {
    const base = known.record
    if (base === undefined || base.keys.length < MAX_KEYS) return record
    const oldest = base.keys.slice(0, KEYS_PER_PAGE)
    if (base.keys.length < 2 * MAX_KEYS && oldest.some(({ pending }) => pending !== undefined)) return record
    const [first, end] = base.pages
    await state.create(pageKey(known.run, end), encode(oldest))
    for (const entry of oldest) known.older.set(entry.key, entry)
    known.read.end = end + 1
    const moved = new Set(oldest.map(({ key }) => key))
    return { ...record, keys: record.keys.filter(({ key }) => !moved.has(key)), pages: [first, end + 1] }
  }
}

function weightOf({ record, older }: Known): number {
  const { keys = [], open = [], taken = [] } = record ?? {}
  const pending = keys.reduce((sum, key) => sum + (key.pending?.used.length ?? 0), 0)
  return 1 + older.size + keys.length + pending + open.length + taken.length
}

interface Applied {
  /** Undefined: there is nothing to write. */
  readonly record: RunRecord | undefined
  readonly refused: boolean
  readonly answers: readonly (() => void)[]
}

function apply(known: Known, steps: readonly Waiting[]): Applied {
  const before = known.record
  let record = before && withAnswers(before, known.answered)
  const answers: (() => void)[] = []
  let refused = false
  for (const { step, resolve, reject } of steps) {
    const current = record
    try {
      const { record: next, result } = step({
        record: current,
        find: (key) => current?.keys.find((entry) => entry.key === key) ?? known.older.get(key),
      })
      record = next ?? record
      answers.push(() => resolve(result))
    } catch (error) {
      refused = true
      answers.push(() => reject(error))
    }
  }
  return { record: record === before ? undefined : record, refused, answers }
}

/** The record with what became known since it was written; forgets the notes that it now holds. */
function withAnswers(record: RunRecord, answered: Set<string>): RunRecord {
  if (answered.size === 0) return record
  let changed = false
  const keys = record.keys.flatMap((entry): KeyEntry[] => {
    if (entry.pending === undefined || !answered.has(entry.key)) return [entry]
    changed = true
    const { pending: _, ...rest } = entry
    return entry.once === true ? [] : [rest]
  })
  if (!changed) answered.clear()
  return changed ? { ...record, keys } : record
}
