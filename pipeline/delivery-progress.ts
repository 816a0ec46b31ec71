import { createHash } from 'node:crypto'
import type { Batch } from './batch/batch.ts'
import type { Delivery } from './component.ts'

/**
 * For an exporter that makes several requests of one delivery: what came of those that were taken, so that the repeat of
 * the range goes on behind them. Kept per cursor and only in memory: after a crash the whole range is sent again.
 */
export class DeliveryProgress<T> {
  readonly #byCursor = new Map<string, { readonly key: string; readonly done: Map<string, T> }>()

  /**
   * By the place of the request; `sizes`: the spans of each request that is planned, where names
   * of places do not say it. A reload may have changed what the
   * processors leave of the range, or what the requests hold: then nothing of it counts as done.
   */
  of(
    { cursor, range, batches }: Pick<Delivery, 'cursor' | 'range' | 'batches'>,
    sizes: readonly number[] = [],
  ): Map<string, T> {
    const key = `${range.token}/${sizes.join()}/${liveRowsKey(batches)}`
    const known = this.#byCursor.get(cursor)
    if (known?.key === key) return known.done
    const done = new Map<string, T>()
    this.#byCursor.set(cursor, { key, done })
    return done
  }

  finish({ cursor }: Pick<Delivery, 'cursor'>): void {
    this.#byCursor.delete(cursor)
  }
}

/** Says which rows are live: equal texts, equal rows. */
function liveRowsKey(batches: readonly Batch[]): string {
  const hash = createHash('sha256')
  for (const batch of batches) {
    // A 2 ends the batch.
    hash.update(
      Uint8Array.from({ length: batch.rows + 1 }, (_, row) =>
        row === batch.rows ? 2 : Number(batch.isLive(row)),
      ),
    )
  }
  return hash.digest('base64')
}
