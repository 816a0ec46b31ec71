import type { EmbeddedTable } from './embedded-table.ts'
import type { StateChange, StateKey } from './state.ts'

/** Watchers of the embedded store: told in this process, and by a poll of what other processes wrote. */
export class Changes {
  readonly #pollMs: number
  readonly #table: () => EmbeddedTable | undefined
  readonly #sleepers = new Set<() => void>()
  #timer: NodeJS.Timeout | undefined

  constructor(pollMs: number, table: () => EmbeddedTable | undefined) {
    this.#pollMs = pollMs
    this.#table = table
  }

  /** Wakes every watcher; they look for themselves. */
  notify(): void {
    for (const wake of this.#sleepers) wake()
  }

  close(): void {
    this.notify()
  }

  async *watch(prefix: StateKey, from: number, signal: AbortSignal): AsyncGenerator<StateChange> {
    let seen = from
    for (;;) {
      const table = this.#table()
      if (table === undefined || signal.aborted) return
      table.refresh()
      const current = table.revision
      if (current <= seen) {
        await this.#sleep(signal)
        continue
      }
      for (const change of table.changesAfter(seen)) {
        seen = change.revision
        if (signal.aborted) return
        if (isBelow(change.key, prefix)) yield change
      }
      seen = Math.max(seen, current)
    }
  }

  #sleep(signal: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const wake = (): void => {
        this.#sleepers.delete(wake)
        signal.removeEventListener('abort', wake)
        if (this.#sleepers.size === 0) {
          clearInterval(this.#timer)
          this.#timer = undefined
        }
        resolve()
      }
      this.#sleepers.add(wake)
      signal.addEventListener('abort', wake, { once: true })
      this.#timer ??= setInterval(() => this.#poll(), this.#pollMs)
    })
  }

  #last = 0

  #poll(): void {
    const table = this.#table()
    table?.refresh()
    const revision = table?.revision ?? -1
    if (revision === this.#last) return
    this.#last = revision
    this.notify()
  }
}

/** Whole tokens: `a.b` is below `a`, `ab` is not. Everything is below the empty prefix. */
function isBelow(key: StateKey, prefix: StateKey): boolean {
  return prefix === '' || key.startsWith(`${prefix}.`)
}
