/**
 * A lower bound of the time that the log stamps on what it takes next, without comparing clocks of two machines: it
 * stamped the message that we saw with t, so that its clock has gone on from t at least by the time since. Less a
 * second, as the embedded driver stamps a message before it is committed.
 */
export class LogClock {
  readonly #monotonic: () => number
  /** Largest difference seen between a stamp and our monotonic clock. */
  #ahead = -Infinity

  constructor(monotonic: () => number = () => performance.now()) {
    this.#monotonic = monotonic
  }

  saw(walMs: number): void {
    this.#ahead = Math.max(this.#ahead, walMs - this.#monotonic())
  }

  /** −Infinity before the first message. */
  atLeast(): number {
    return this.#ahead + this.#monotonic() - IN_FLIGHT_MS
  }
}

const IN_FLIGHT_MS = 1000
