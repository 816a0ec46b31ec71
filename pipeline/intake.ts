import { reject, retry } from './fault.ts'

/**
 * Bounds the bytes of request bodies in flight over all receivers. A receiver takes before it buffers and gives back
 * when the request is answered; over the limit the sender is told to come again, before its body is read.
 */
export class ByteGate {
  readonly limit: number
  readonly #largest: number
  #held = 0

  /** `largestBytes`: what may be held of one request. */
  constructor(limitBytes: number, largestBytes = Number.POSITIVE_INFINITY) {
    this.limit = limitBytes
    this.#largest = largestBytes
  }

  get held(): number {
    return this.#held
  }

  /**
   * Takes `bytes` for a request that holds `own` already, or throws OVERLOADED (retry). One request larger than the whole limit passes
   * when alone; one that memory does not suffice for is BATCH_TOO_LARGE.
   */
  take(bytes: number, own = 0): void {
    if (own + bytes > this.#largest) {
      const message = `the daemon’s memory allows requests of ${this.#largest} bytes, as sent and inflated together; send smaller ones`
      throw reject('BATCH_TOO_LARGE', message)
    }
    if (this.#held > own && this.#held + bytes > this.limit) {
      throw retry('OVERLOADED', `over ${this.limit} bytes of requests are in flight`, 1000)
    }
    this.#held += bytes
  }

  give(bytes: number): void {
    this.#held -= bytes
  }
}
