/** Waits between repeats: full jitter over a doubling ceiling, never below what the fault asks for. */
export class Backoff {
  readonly #firstMs: number
  readonly #capMs: number
  readonly #random: () => number
  #failures = 0

  constructor(firstMs = 1000, capMs = 30_000, random: () => number = Math.random) {
    this.#firstMs = firstMs
    this.#capMs = capMs
    this.#random = random
  }

  nextMs(afterMs = 0): number {
    const ceiling = Math.min(this.#capMs, this.#firstMs * 2 ** Math.min(this.#failures, 30))
    this.#failures++
    return afterMs + this.#random() * ceiling
  }

  reset(): void {
    this.#failures = 0
  }
}
