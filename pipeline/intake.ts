import { retry } from './fault.ts'

/**
 * Bounds the bytes of request bodies in flight over all receivers. A receiver takes before it buffers and gives back
 * when the request is answered; over the limit the sender is told to come again, before its body is read.
 */
export class ByteGate {
  readonly limit: number
  #held = 0

  constructor(limitBytes: number) {
    this.limit = limitBytes
  }

  get held(): number {
    return this.#held
  }

  /** Takes `bytes` or throws OVERLOADED (retry). One request larger than the whole limit passes when alone. */
  take(bytes: number): void {
    if (this.#held > 0 && this.#held + bytes > this.limit) {
      throw retry('OVERLOADED', `over ${this.limit} bytes of requests are in flight`, 1000)
    }
    this.#held += bytes
  }

  give(bytes: number): void {
    this.#held -= bytes
  }
}
