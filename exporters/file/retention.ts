import { unlink } from 'node:fs/promises'
import type { Cutoffs, Deletion, Overdue, Retainable } from '../../pipeline/retention.ts'
import { agedBackups } from './backups.ts'

export interface RetentionOptions {
  readonly store: string
  readonly path: string
  readonly local: boolean
  /** Runs when no delivery is under way. */
  readonly inTurn: (work: () => Promise<void>) => Promise<void>
  readonly unavailable: (error: unknown) => Error
}

/**
 * Files that were put aside. All tenants are in one file, so it stays as long as the one whose spans are kept longest, and
 * the file that is written to is never touched: rotation has it put aside.
 */
export class FileRetention implements Retainable {
  readonly store: string
  readonly kind = 'traces'
  readonly #options: RetentionOptions

  constructor(options: RetentionOptions) {
    this.store = options.store
    this.#options = options
  }

  async survey(cutoffs: Cutoffs): Promise<readonly Overdue[]> {
    const old = await this.#expired(cutoffs)
    const [first] = old
    return first === undefined
      ? []
      : [{ tenant: undefined, items: old.length, unit: 'files', oldestMs: first.atMs }]
  }

  async *expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    for (const { file, atMs } of await this.#expired(cutoffs)) {
      if (signal.aborted) return
      await this.#guarded(() => this.#options.inTurn(() => unlink(file).catch(unlessGone)))
      yield { tenant: undefined, items: 1, unit: 'files', oldestMs: atMs, object: file }
    }
  }

  async #expired({ earliestMs }: Cutoffs) {
    const { path, local } = this.#options
    const all = await this.#guarded(() => agedBackups(path, local))
    return all.filter(({ atMs }) => atMs < earliestMs)
  }

  async #guarded<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work()
    } catch (error) {
      throw this.#options.unavailable(error)
    }
  }
}

/** Rotation may have been quicker. */
function unlessGone(error: unknown): void {
  if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
}
