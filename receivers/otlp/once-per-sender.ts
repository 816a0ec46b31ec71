import type { Log } from '../../pipeline/telemetry/log.ts'

const MAX_SENDERS = 1024

/** Logs a sender's mistake once, not at each of its requests. Bounded: the oldest senders are forgotten first. */
export class OncePerSender {
  readonly #log: Log
  readonly #seen = new Set<string>()

  constructor(log: Log) {
    this.#log = log
  }

  /** `peer` is `ip:port`; the port changes with every connection and does not count. */
  warn(peer: string, path: string): void {
    const sender = peer.slice(0, peer.lastIndexOf(':'))
    const key = `${sender} ${path}`
    if (this.#seen.has(key)) return
    if (this.#seen.size >= MAX_SENDERS) for (const oldest of this.#seen) if (this.#seen.delete(oldest)) break
    this.#seen.add(key)
    this.#log.warn({ sender, path }, 'a sender uses a signal that weir does not take; logged once per sender')
  }
}
