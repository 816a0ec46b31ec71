/** Something that must end by a time of `performance.now()`. */
export interface Expiring {
  readonly expiresAtMs: number
  expire(): void
}

/** How late an expiry may be. */
const TICK_MS = 100

/**
 * Watches the deadlines of many things that mostly end before them, by one timer for all: a timer for each took several
 * per cent of the CPU of small requests. Nothing ticks while nothing is watched.
 */
export class Deadlines {
  readonly #watched = new Set<Expiring>()
  #timer: NodeJS.Timeout | undefined

  add(thing: Expiring): void {
    this.#watched.add(thing)
    this.#timer ??= setTimeout(() => this.#tick(), TICK_MS)
  }

  delete(thing: Expiring): void {
    this.#watched.delete(thing)
  }

  stop(): void {
    this.#watched.clear()
    clearTimeout(this.#timer)
  }

  #tick(): void {
    this.#timer = undefined
    const now = performance.now()
    for (const thing of this.#watched) {
      if (thing.expiresAtMs > now) continue
      this.#watched.delete(thing)
      thing.expire()
    }
    if (this.#watched.size > 0) this.#timer ??= setTimeout(() => this.#tick(), TICK_MS)
  }
}
