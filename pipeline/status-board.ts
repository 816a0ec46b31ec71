import type { ComponentHealth, Status } from './host.ts'

/** The last known status of every component of a process. */
export class StatusBoard {
  readonly #clock: () => number
  readonly #entries = new Map<string, ComponentHealth>()

  constructor(clock: () => number) {
    this.#clock = clock
  }

  set(name: string, group: string, status: Status, error?: string): void {
    const key = keyOf({ name, group })
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

  /** Forgets what is none of these: after a reload, what was replaced and what did not start. */
  retain(components: Iterable<Placed>): void {
    const kept = new Set(Array.from(components, keyOf))
    for (const key of this.#entries.keys()) if (!kept.has(key)) this.#entries.delete(key)
  }

  list(): ComponentHealth[] {
    return [...this.#entries.values()]
  }
}

interface Placed {
  readonly name: string
  readonly group: string
}

function keyOf({ name, group }: Placed): string {
  return `${group}\n${name}`
}
