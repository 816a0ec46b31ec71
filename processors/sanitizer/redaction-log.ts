import type { Log } from '../../pipeline/telemetry/log.ts'
import type { Redaction } from './walk/editor.ts'

/** Different paths between two reports; keys come from senders, so what is kept of them is bounded. */
const MOST = 1000
const LONGEST_PATH = 128

/** What was replaced: rule, path and count per tenant, summed up and logged at intervals. Never a value. */
export class RedactionLog {
  readonly #log: Log
  readonly #intervalMs: number
  readonly #clean: (path: string) => string
  readonly #counts = new Map<string, { tenant: string; rule: string; path: string; count: number }>()
  #timer: NodeJS.Timeout | undefined

  /** `clean`: what of a path may be logged. */
  constructor(log: Log, intervalMs: number, clean: (path: string) => string) {
    this.#log = log
    this.#intervalMs = intervalMs
    this.#clean = clean
  }

  start(): void {
    if (this.#intervalMs > 0) this.#timer = setInterval(() => this.flush(), this.#intervalMs).unref()
  }

  stop(): void {
    clearInterval(this.#timer)
    this.flush()
  }

  add(tenant: string, redactions: readonly Redaction[]): void {
    if (this.#intervalMs === 0) return
    for (const { type, path, count } of redactions) {
      const name = this.#counts.size >= MOST ? '…' : path.slice(0, LONGEST_PATH)
      const key = `${tenant}\0${type}\0${name}`
      const entry = this.#counts.get(key)
      if (entry === undefined) this.#counts.set(key, { tenant, rule: type, path: name, count })
      else entry.count += count
    }
  }

  flush(): void {
    for (const { tenant, rule, path, count } of this.#counts.values()) {
      this.#log.info({ tenant, rule, path: this.#clean(path), count }, 'redacted')
    }
    this.#counts.clear()
  }
}
