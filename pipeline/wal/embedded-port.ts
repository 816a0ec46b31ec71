import type { WalMessage, WalPort } from './driver.ts'
import { CorruptRecord, type EmbeddedLog } from './embedded-log.ts'
import type { Wakeups } from './embedded-wakeups.ts'

/** A position in the embedded log: a range scan per `next`, no state anywhere else. */
export class EmbeddedPort implements WalPort {
  readonly #log: EmbeddedLog
  readonly #wakeups: Wakeups
  readonly #closing = new AbortController()
  #position: number

  constructor(log: EmbeddedLog, wakeups: Wakeups, from: number) {
    this.#log = log
    this.#wakeups = wakeups
    this.#position = from
  }

  async next(maxBytes: number, signal: AbortSignal): Promise<WalMessage[]> {
    // Not AbortSignal.any: the long-lived one would remember every call (nodejs/node#54614).
    const ending = [signal, this.#closing.signal]
    while (!ending.some(({ aborted }) => aborted)) {
      const found = this.#read(maxBytes)
      if (found.length > 0) return found
      await this.#wakeups.wait(() => this.#log.lastSeq >= this.#position, ending)
    }
    return []
  }

  #read(maxBytes: number): WalMessage[] {
    try {
      const found = this.#log.read(this.#position, maxBytes)
      const last = found.at(-1)
      if (last !== undefined) this.#position = last.seq + 1
      return found
    } catch (error) {
      if (!(error instanceof CorruptRecord)) throw error
      this.#position = error.seq + 1 // the caller is told once; the next call continues behind it
      throw error.cause
    }
  }

  async seek(from: number): Promise<void> {
    this.#position = from
  }

  async close(): Promise<void> {
    this.#closing.abort()
  }
}
