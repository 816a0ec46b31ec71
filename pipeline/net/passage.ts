import type { Admitted, Entry, Head } from '../admission.ts'
import type { ByteGate } from '../intake.ts'
import { inflate, type Encoding } from './inflate.ts'

/**
 * One request between its head and its answer: what it was admitted as, and what it holds of the daemon's memory.
 * `finish` gives all of it back, once.
 */
export class Passage {
  readonly head: Head
  readonly #gate: ByteGate
  #admitted: Admitted | undefined
  #held = 0
  #finished = false

  constructor(head: Head, gate: ByteGate) {
    this.head = head
    this.#gate = gate
  }

  /** Judged by its head alone, before the body is read. Throws or rejects with what it was refused for. */
  admit(entry: Entry): undefined | Promise<undefined> {
    const admitted = entry.admit(this.head)
    return admitted instanceof Promise ? admitted.then((each) => this.#enter(each)) : this.#enter(admitted)
  }

  #enter(admitted: Admitted): undefined {
    if (this.#finished) admitted.release()
    this.#admitted = admitted
  }

  get admitted(): Admitted {
    if (this.#admitted === undefined) throw new Error('the request was not admitted')
    return this.#admitted
  }

  /** Throws OVERLOADED when the daemon holds too many bytes of requests already, or what a processor says of it. */
  take(bytes: number): void {
    if (this.#finished) return
    this.#gate.take(bytes, this.#held)
    this.#held += bytes
    this.#admitted?.hold?.(bytes)
  }

  /** The body as meant. Throws BATCH_TOO_LARGE over `limit` bytes, and as `take` does. */
  inflated(bytes: Uint8Array, encoding: Encoding, limit: number): Uint8Array | Promise<Uint8Array> {
    if (encoding === 'identity') return bytes
    return inflate(bytes, encoding, limit, (grown) => this.take(grown))
  }

  finish(): void {
    if (this.#finished) return
    this.#finished = true
    this.#gate.give(this.#held)
    this.#admitted?.release()
  }
}
