import type { Batch } from './batch/batch.ts'

/** Delivering again what may have been delivered before: what `jobs/replay` asks of a store. */

/** A store that knows each span by its `EventId`, and so can be given it again without holding it twice. */
export interface ReplaySink {
  /** How many of the live spans it holds. Changes nothing. */
  count(batches: readonly Batch[], signal: AbortSignal): Promise<ReplayCount>
  /**
   * Resolves once it holds every live span of these batches, those that it held before as they were. `token` names this
   * composition: whoever repeats it after a crash uses the same one.
   */
  add(batches: readonly Batch[], token: string, signal: AbortSignal): Promise<ReplayCount>
  /**
   * Resolves once it holds every live span of these batches as they are here and not as it held them before: at no
   * moment both. What a crash in the middle leaves out is put back by the repeat, or by the store when it starts again.
   */
  replace(batches: readonly Batch[], token: string, signal: AbortSignal): Promise<ReplayCount>
  /** Resolves once nothing of all this is under way in the store any more: what was replaced is gone from its disk. */
  settle(signal: AbortSignal): Promise<void>
}

export interface ReplayCount {
  /** Different spans among the live ones: a repeat within the batches is one. */
  readonly spans: number
  /** Of these, held before the call. */
  readonly present: number
  /** Live spans past the age that the store keeps: not counted above, and left as they are. */
  readonly expired: number
}
