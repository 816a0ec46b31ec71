/** Lets writes pass until somebody holds them; a hold is in force once those under way have ended. */
export class WriteGate {
  #underWay = 0
  #holds = 0
  readonly #idle: (() => void)[] = []
  readonly #waiting: (() => void)[] = []

  async pass<T>(write: () => Promise<T>): Promise<T> {
    while (this.#holds > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    this.#underWay++
    try {
      return await write()
    } finally {
      this.#underWay--
      if (this.#underWay === 0) for (const wake of this.#idle.splice(0)) wake()
    }
  }

  /** Resolves with what ends the hold. */
  async hold(): Promise<() => void> {
    this.#holds++
    if (this.#underWay > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
    return () => {
      this.#holds--
      if (this.#holds === 0) for (const wake of this.#waiting.splice(0)) wake()
    }
  }
}
