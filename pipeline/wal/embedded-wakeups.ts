const POLL_MS = 50

interface Waiter {
  readonly ready: () => boolean
  readonly resolve: () => void
}

/** Lets readers sleep until something is appended: told by `notify` in this process, else seen by a poll that runs only while someone waits. */
export class Wakeups {
  readonly #waiters = new Set<Waiter>()
  #timer: NodeJS.Timeout | undefined

  /** Resolves on `notify`, when `ready` turns true, or when one of `signals` aborts. */
  wait(ready: () => boolean, signals: readonly AbortSignal[]): Promise<void> {
    if (signals.some((signal) => signal.aborted)) return Promise.resolve()
    return new Promise((resolve) => {
      const waiter: Waiter = { ready, resolve: done }
      const waiters = this.#waiters
      function done(): void {
        waiters.delete(waiter)
        for (const signal of signals) signal.removeEventListener('abort', done)
        resolve()
      }
      waiters.add(waiter)
      for (const signal of signals) signal.addEventListener('abort', done, { once: true })
      this.#timer ??= setInterval(() => this.#poll(), POLL_MS)
    })
  }

  notify(): void {
    for (const waiter of this.#waiters) waiter.resolve()
    this.#rest()
  }

  #poll(): void {
    for (const waiter of this.#waiters) {
      if (waiter.ready()) waiter.resolve()
    }
    this.#rest()
  }

  #rest(): void {
    if (this.#waiters.size > 0) return
    clearInterval(this.#timer)
    this.#timer = undefined
  }
}
