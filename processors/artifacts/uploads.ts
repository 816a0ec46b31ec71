/** Work that is under way, bounded in bytes and number. */
export class Uploads {
  readonly #limit: { readonly bytes: number; readonly count: number }
  readonly #waiting: (() => void)[] = []
  #bytes = 0
  #count = 0
  #failure: { readonly error: unknown } | undefined
  #idle: (() => void)[] = []

  constructor(limit: { readonly bytes: number; readonly count: number }) {
    this.#limit = limit
  }

  /** Resolves once the work has begun, which is when there is room; after a failure nothing more is begun. */
  async begin(bytes: number, work: () => Promise<void>): Promise<void> {
    while (this.#isFull(bytes)) await new Promise<void>((resolve) => this.#waiting.push(resolve))
    if (this.#failure !== undefined) return
    this.#bytes += bytes
    this.#count++
    void this.#run(bytes, work)
  }

  /** Resolves when nothing is under way; throws the first failure since the last call, once. */
  async settled(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => this.#idle.push(resolve))
    const failure = this.#failure
    this.#failure = undefined
    if (failure !== undefined) throw failure.error
  }

  /** Something larger than the limit goes alone. */
  #isFull(bytes: number): boolean {
    if (this.#count === 0 || this.#failure !== undefined) return false
    return this.#count >= this.#limit.count || this.#bytes + bytes > this.#limit.bytes
  }

  async #run(bytes: number, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      this.#failure ??= { error }
    } finally {
      this.#bytes -= bytes
      this.#count--
      for (const wake of this.#waiting.splice(0)) wake()
      if (this.#count === 0) for (const wake of this.#idle.splice(0)) wake()
    }
  }
}
