import type { Batch } from './batch/batch.ts'

/** Some spans of an accepted batch that will not be stored, and why. Reaches the sender as OTLP `partial_success`. */
export interface Rejection {
  /** Rows of the batch, in order. */
  readonly rows: readonly number[]
  /** Names the rule and the component, e.g. `validators: no gen_ai.request.model`. */
  readonly reason: string
  /** So many of the rows, where a destination tells how many it left out and not which; absent: all of them. */
  readonly count?: number
}

/** What became of a batch that was taken. Empty `rejected`: every live span is safe. */
export interface Outcome {
  readonly rejected: readonly Rejection[]
}

export const ACCEPTED: Outcome = Object.freeze({ rejected: Object.freeze([]) })

/** Spans that a rejection rejects. */
export function countOf({ rows, count }: Rejection): number {
  return Math.min(count ?? rows.length, rows.length)
}

/** Spans rejected in `outcome`. */
export function rejectedCount(outcome: Outcome): number {
  if (outcome === ACCEPTED) return 0
  let count = 0
  for (const rejection of outcome.rejected) count += countOf(rejection)
  return count
}

/**
 * Takes a batch and owns it. The promise is the acknowledgement: it resolves once the batch is safe downstream
 * and rejects with a Fault that says what the caller should do next. Awaiting it is the backpressure. `signal` says that the caller
 * gave up: what cannot be taken back then goes on, and the promise tells how it ended.
 */
export interface Consumer {
  consume(batch: Batch, signal: AbortSignal): Promise<Outcome>
}
