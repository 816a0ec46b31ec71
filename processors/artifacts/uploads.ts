/** Room for work that is under way, bounded in bytes and number over all batches. */
export class Uploads {
  readonly #limit: { readonly bytes: number; readonly count: number }
  #waiting: (() => void)[] = []
  #bytes = 0
  #count = 0

  constructor(limit: { readonly bytes: number; readonly count: number }) {
    this.#limit = limit
  }

  /** Of one batch: its failures are its own. */
  ofBatch(): BatchUploads {
    return new BatchUploads(this)
  }

  /** Resolves when nothing is under way. */
  async idle(): Promise<void> {
    while (this.#count > 0) await new Promise<void>((resolve) => this.#waiting.push(resolve))
  }

  /** Resolves once there is room. Something larger than the limit goes alone. */
  async enter(bytes: number): Promise<void> {
    while (this.#count > 0 && (this.#count >= this.#limit.count || this.#bytes + bytes > this.#limit.bytes)) {
      await new Promise<void>((resolve) => this.#waiting.push(resolve))
    }
    this.#bytes += bytes
    this.#count++
  }

  leave(bytes: number): void {
    this.#bytes -= bytes
    this.#count--
    for (const wake of this.#waiting.splice(0)) wake()
  }
}

export class BatchUploads {
  readonly #room: Uploads
  readonly #underWay: Promise<void>[] = []
  #failure: { readonly error: unknown } | undefined

  constructor(room: Uploads) {
    this.#room = room
  }

  /** Resolves once the work has begun; after a failure nothing more is begun. */
  async begin(bytes: number, work: () => Promise<void>): Promise<void> {
    if (this.#failure !== undefined) return
    await this.#room.enter(bytes)
    this.#underWay.push(this.#run(bytes, work))
  }

  /** Resolves when all of it is done; throws its first failure. */
  async settled(): Promise<void> {
    await Promise.all(this.#underWay)
    if (this.#failure !== undefined) throw this.#failure.error
  }

  async #run(bytes: number, work: () => Promise<void>): Promise<void> {
    try {
      if (this.#failure === undefined) await work()
    } catch (error) {
      this.#failure ??= { error }
    } finally {
      this.#room.leave(bytes)
    }
  }
}
