import type { AuditEntry } from './audit.ts'

/** Different refusals of a window that are told one by one; all others together are one entry. */
const TOLD = 16
const WINDOW_MS = 60_000

interface Group {
  readonly first: AuditEntry
  /** After the first, which was written at once. */
  repeats: number
}

/**
 * Keeps who is refused from filling the log: of what is refused alike (address, action, actor, reason) the first is
 * written at once and the others as one entry with their count when the minute ends. Beyond 16 different ones a minute
 * there is one more entry for all the rest: at most 33 a minute and process, however many come.
 */
export class Refusals {
  readonly #write: (entry: AuditEntry) => void
  readonly #windowMs: number
  readonly #groups = new Map<string, Group>()
  #rest = 0
  #timer: NodeJS.Timeout | undefined

  constructor(write: (entry: AuditEntry) => void, windowMs = WINDOW_MS) {
    this.#write = write
    this.#windowMs = windowMs
  }

  note(entry: AuditEntry): void {
    if (this.#timer === undefined) {
      this.#timer = setTimeout(() => this.flush(), this.#windowMs)
      this.#timer.unref()
    }
    const key = JSON.stringify([
      networkOf(entry.address ?? ''),
      entry.action,
      entry.actor.kind === 'sender' ? '' : entry.actor.id,
      entry.details?.['code'],
    ])
    const group = this.#groups.get(key)
    if (group !== undefined) group.repeats++
    else if (this.#groups.size < TOLD) {
      this.#groups.set(key, { first: entry, repeats: 0 })
      this.#write(entry)
    } else this.#rest++
  }

  /** Ends the window. */
  flush(): void {
    clearTimeout(this.#timer)
    this.#timer = undefined
    for (const { first, repeats } of this.#groups.values()) {
      if (repeats > 0) this.#write({ ...first, details: { ...first.details, repeats } })
    }
    if (this.#rest > 0) {
      this.#write({
        actor: { id: 'weir', kind: 'system' },
        action: 'access.denied',
        object: 'others',
        outcome: 'denied',
        details: { repeats: this.#rest },
      })
    }
    this.#groups.clear()
    this.#rest = 0
  }
}

/** Whoever has one IPv6 address has 2^64 of them. */
function networkOf(address: string): string {
  return address.includes(':') ? address.split(':').slice(0, 4).join(':') : address
}
