import type { ComponentHealth, Status } from './host.ts'

/** The last known status of every component of a process. */
export class StatusBoard {
  readonly #clock: () => number
  readonly #entries = new Map<string, ComponentHealth>()

  constructor(clock: () => number) {
    this.#clock = clock
  }

  set(name: string, group: string, status: Status, error?: string): void {
    const key = `${group}\n${name}`
    const before = this.#entries.get(key)
    if (before?.status === status && before.error === error) return
    this.#entries.set(key, {
      name,
      group,
      status,
      sinceMs: this.#clock(),
      ...(error === undefined ? {} : { error }),
    })
  }

  delete(name: string): void {
    for (const [key, entry] of this.#entries) if (entry.name === name) this.#entries.delete(key)
  }

  list(): ComponentHealth[] {
    return [...this.#entries.values()]
  }
}
