import { hash } from 'node:crypto'
import { isWhole, type Lookback } from './admission.ts'
import type { Batch } from './batch/batch.ts'
import { decodeBatch } from './batch/otlp-batch.ts'
import { ACCEPTED, type Consumer, type Outcome } from './consumer.ts'
import { orGivenUp } from './given-up.ts'

/**
 * Publishes what the WAL has not taken of a batch since the position `since`, for a receiver that does not know what
 * became of an earlier attempt. A rest gets a digest of its own: under the batch's it could look like a part that is
 * stored (as many spans from its first row on), and the reader would drop it. What an attempt at the rest left behind is
 * found by that digest again, so that any number of attempts stores each row once. Exact where no processor before the
 * WAL takes rows out; rows of the Outcome are the batch's.
 */
export async function publishRest(
  next: Consumer,
  lookback: Lookback,
  batch: Batch,
  since: string,
  signal: AbortSignal,
): Promise<Outcome> {
  /** Row of the rest → row of the batch. */
  let rows = Array.from({ length: batch.rows }, (_, row) => row)
  for (let rest = batch; ;) {
    const stored = await lookback.stored(rest.meta.tenant, rest.meta.digest, since, signal)
    if (isWhole(stored)) return ACCEPTED
    if (stored.length === 0) return inRowsOf(rows, await next.consume(rest, signal))
    for (const { first, end } of stored) {
      for (let row = first; row < Math.min(end, rest.rows); row++) rest.drop(row, 'duplicate')
    }
    if (rest.live === 0) return ACCEPTED
    const live = rest
    rows = rows.filter((_, row) => live.isLive(row))
    rest = decodeBatch(rest.encode(), { ...rest.meta, digest: restDigest(rest.meta.digest) })
  }
}

/**
 * Publishes a batch of a receiver that does not wait for ever: `publishRest`, or all of it where `since` is undefined (no
 * attempt came before) or nobody can tell. CANCELLED once `signal` aborts; what was begun goes on.
 */
export function publish(
  next: Consumer & { readonly lookback?: Lookback | undefined },
  batch: Batch,
  since: string | undefined,
  signal: AbortSignal,
): Promise<Outcome> {
  const { lookback } = next
  const published =
    since === undefined || lookback === undefined
      ? next.consume(batch, signal)
      : publishRest(next, lookback, batch, since, signal)
  return orGivenUp(signal, published)
}

function restDigest(digest: Uint8Array): Buffer {
  return hash('sha256', Buffer.concat([digest, Buffer.from('rest')]), 'buffer').subarray(0, digest.length)
}

function inRowsOf(rows: readonly number[], outcome: Outcome): Outcome {
  if (outcome.rejected.length === 0) return outcome
  const rejected = outcome.rejected.map(({ rows: found, reason }) => ({
    rows: found.flatMap((row) => rows[row] ?? []),
    reason,
  }))
  return { rejected }
}
