import type { Delivery } from './component.ts'

/**
 * For an exporter that makes several requests of one delivery: what came of those that were taken, so that the repeat of
 * the range goes on behind them. Kept per cursor and only in memory: after a crash the whole range is sent again.
 */
export class DeliveryProgress<T> {
  readonly #byCursor = new Map<string, { readonly key: string; readonly done: Map<number, T> }>()

  /** By the place of the request; `requests` must be the same count, as the plan of a range is. */
  of({ cursor, range }: Delivery, requests: number): Map<number, T> {
    const key = `${range.token}/${requests}`
    const known = this.#byCursor.get(cursor)
    if (known?.key === key) return known.done
    const done = new Map<number, T>()
    this.#byCursor.set(cursor, { key, done })
    return done
  }

  finish({ cursor }: Delivery): void {
    this.#byCursor.delete(cursor)
  }
}
