/**
 * A bucket of tokens over WAL time, as the collector's rate limiting has it. What it holds is saved with the decisions
 * that it made, so that they come out alike when they are made again.
 */
export class Limiter {
  readonly #perSecond: number
  readonly #capacity: number
  #tokens: number
  #atMs = 0

  constructor(perSecond: number, capacity: number) {
    this.#perSecond = perSecond
    this.#capacity = capacity
    this.#tokens = capacity
  }

  /** Takes `amount` when there is as much; time that goes back counts as standing still. */
  take(amount: number, nowMs: number): boolean {
    const passedMs = Math.max(0, nowMs - this.#atMs)
    this.#tokens = Math.min(this.#capacity, this.#tokens + (passedMs / 1000) * this.#perSecond)
    this.#atMs = Math.max(this.#atMs, nowMs)
    if (amount > this.#tokens) return false
    this.#tokens -= amount
    return true
  }

  get state(): readonly [tokens: number, atMs: number] {
    return [this.#tokens, this.#atMs]
  }

  /** To what was saved, or to the start. */
  reset([tokens, atMs]: readonly [tokens: number, atMs: number] = [this.#capacity, 0]): void {
    this.#tokens = Math.min(this.#capacity, tokens)
    this.#atMs = atMs
  }
}
