/**
 * A token bucket that may go into debt: the size of a request is known only after it was taken in, so who has any tokens
 * is let in, pays what it really was, and waits until that is paid back. The mean rate never exceeds the limit, and a
 * request of any size gets through.
 */
export class TokenBucket {
  readonly #perMs: number
  readonly #capacity: number
  #tokens: number
  #atMs: number
  #reserved = 0

  /** `perMs` tokens come in, up to `capacity`. */
  constructor(perMs: number, capacity: number, nowMs: number) {
    this.#perMs = perMs
    this.#capacity = capacity
    this.#tokens = capacity
    this.#atMs = nowMs
  }

  /** How long until a request may be let in; 0: now. Infinity: never. */
  waitMs(nowMs: number): number {
    this.#fill(nowMs)
    const free = this.#tokens - this.#reserved
    if (free > 0) return 0
    return this.#perMs === 0 ? Number.POSITIVE_INFINITY : Math.ceil(-free / this.#perMs) + 1
  }

  /** An estimate for a request that was let in, until `settle`. */
  reserve(tokens: number): void {
    this.#reserved += tokens
  }

  unreserve(tokens: number): void {
    this.#reserved -= tokens
  }

  take(tokens: number): void {
    this.#tokens -= tokens
  }

  give(tokens: number): void {
    this.#tokens = Math.min(this.#capacity, this.#tokens + tokens)
  }

  isFull(nowMs: number): boolean {
    this.#fill(nowMs)
    return this.#tokens >= this.#capacity && this.#reserved === 0
  }

  #fill(nowMs: number): void {
    // A clock that was set back adds nothing.
    const passed = Math.max(0, nowMs - this.#atMs)
    this.#atMs = nowMs
    this.#tokens = Math.min(this.#capacity, this.#tokens + passed * this.#perMs)
  }
}
