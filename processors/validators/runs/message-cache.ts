import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { StoredLog } from '../../../pipeline/follower.ts'

/** Messages that were just read: most runs are judged out of these. */
const MOST_BYTES = 64 * 1024 * 1024

interface Cached {
  readonly batches: Batch[]
  bytes: number
}

/** Batches by the sequence of their message; what does not fit any more is read again from the log. */
export class MessageCache {
  readonly #log: StoredLog
  readonly #messages = new Map<number, Cached>()
  #bytes = 0

  constructor(log: StoredLog) {
    this.#log = log
  }

  clear(): void {
    this.#messages.clear()
    this.#bytes = 0
  }

  /** All batches of a message are added before the next message's. */
  add(seq: number, batch: Batch, bytes: number): void {
    const cached = this.#messages.get(seq) ?? { batches: [], bytes: 0 }
    cached.batches.push(batch)
    cached.bytes += bytes
    this.#messages.set(seq, cached)
    this.#bytes += bytes
    for (const [oldest, { bytes: freed }] of this.#messages) {
      if (this.#bytes <= MOST_BYTES || oldest === seq) return
      this.#messages.delete(oldest)
      this.#bytes -= freed
    }
  }

  /** Before this, nothing is asked for any more. */
  forget(before: number): void {
    for (const [seq, { bytes }] of this.#messages) {
      if (seq >= before) return
      this.#messages.delete(seq)
      this.#bytes -= bytes
    }
  }

  /** The batches of the messages in order; undefined when the log does not have one of them any more. */
  async read(seqs: readonly number[], signal: AbortSignal): Promise<readonly Batch[] | undefined> {
    const missing = seqs.filter((seq) => !this.#messages.has(seq))
    const read = new Map(
      missing.length === 0
        ? []
        : (await this.#log.read(missing, signal)).map(({ seq, batches }) => [seq, batches]),
    )
    const found: Batch[] = []
    for (const seq of seqs) {
      const batches = this.#messages.get(seq)?.batches ?? read.get(seq)
      if (batches === undefined) return undefined
      found.push(...batches)
    }
    return found
  }
}
