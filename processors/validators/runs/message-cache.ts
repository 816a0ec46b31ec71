import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { StoredLog } from '../../../pipeline/follower.ts'

/** Messages that were just read: most runs are judged out of these. */
const MOST_BYTES = 64 * 1024 * 1024

/** Messages that are read again before what is not needed of them is let go. */
const AT_A_TIME = 4

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

  /**
   * What `pick` leaves of the batches of the messages, in order; undefined when the log does not have one of them any more.
   * What is read again comes in small parts, as one message may hold megabytes of others.
   */
  async read(
    seqs: readonly number[],
    pick: (batch: Batch) => Batch | undefined,
    signal: AbortSignal,
  ): Promise<readonly Batch[] | undefined> {
    const found = new Map<number, readonly Batch[]>()
    const missing: number[] = []
    for (const seq of seqs) {
      const cached = this.#messages.get(seq)
      if (cached === undefined) missing.push(seq)
      else found.set(seq, cached.batches)
    }
    for (let from = 0; from < missing.length; from += AT_A_TIME) {
      const part = missing.slice(from, from + AT_A_TIME)
      for (const { seq, batches } of await this.#log.read(part, signal))
        found.set(
          seq,
          batches.map(pick).filter((batch) => batch !== undefined),
        )
      if (part.some((seq) => !found.has(seq))) return undefined
    }
    return seqs.flatMap((seq) => found.get(seq) ?? [])
  }
}
