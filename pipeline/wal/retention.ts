import type { Cutoffs, Deletion, Overdue, Retainable } from '../retention.ts'
import { firstAt } from './cursor-seek.ts'
import type { DeadLetter, DeadLetters } from './dead-letter.ts'
import type { WalDriver, WalInfo } from './driver.ts'

export interface LogRetentionOptions {
  readonly connector: string
  readonly driver: WalDriver
  readonly clock: () => number
  /** The log has a policy of its own, `keep`: its messages are of many tenants' exporters. */
  readonly keepMs: number
  /** A round of the trimmer, which deletes only what every cursor has passed. */
  readonly trim: (signal: AbortSignal) => Promise<WalInfo>
}

/** What outlived `keep`: the trimmer's, every second; what it leaves an exporter has not taken. */
export class LogRetention implements Retainable {
  readonly store: string
  readonly kind = 'wal'
  readonly #options: LogRetentionOptions

  constructor(options: LogRetentionOptions) {
    this.store = options.connector
    this.#options = options
  }

  async survey(_: Cutoffs, signal: AbortSignal): Promise<readonly Overdue[]> {
    const { driver, clock, keepMs } = this.#options
    const info = await driver.info()
    const oldMs = clock() - keepMs
    if (info.messages === 0 || (info.oldestMs ?? Infinity) >= oldMs) return []
    const kept = await firstAt(driver, oldMs, info.firstSeq, info.lastSeq, signal)
    const items = kept - info.firstSeq
    return [{ tenant: undefined, items, unit: 'messages', oldestMs: info.oldestMs ?? 0 }]
  }

  async *expire(_: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    const { driver, trim, connector } = this.#options
    const before = await driver.info()
    const after = await trim(signal)
    const items = after.firstSeq - before.firstSeq
    if (items <= 0) return
    const object = `${connector} ${before.firstSeq}-${after.firstSeq - 1}`
    yield { tenant: undefined, items, unit: 'messages', oldestMs: before.oldestMs ?? 0, object }
  }
}

/** Dead letters, by the time when they were written first. */
export class LetterRetention implements Retainable {
  readonly store: string
  readonly kind = 'dead_letters'
  readonly #letters: DeadLetters

  constructor(connector: string, letters: DeadLetters) {
    this.store = `${connector}/dead_letters`
    this.#letters = letters
  }

  async survey(cutoffs: Cutoffs): Promise<readonly Overdue[]> {
    const expired = await this.#expired(cutoffs)
    return [...expired].map(([tenant, letters]) => overdueOf(tenant, letters))
  }

  async *expire(cutoffs: Cutoffs, signal: AbortSignal): AsyncGenerator<Deletion> {
    for (const [tenant, letters] of await this.#expired(cutoffs)) {
      const gone: DeadLetter[] = []
      for (const letter of letters) {
        if (signal.aborted) break
        await this.#letters.remove(letter.id)
        gone.push(letter)
      }
      if (gone.length > 0) yield { ...overdueOf(tenant, gone), object: this.store }
      if (signal.aborted) return
    }
  }

  async #expired(cutoffs: Cutoffs): Promise<Map<string, DeadLetter[]>> {
    const found = new Map<string, DeadLetter[]>()
    for (const letter of await this.#letters.list()) {
      if (letter.firstMs >= cutoffs.of(letter.tenant)) continue
      found.set(letter.tenant, [...(found.get(letter.tenant) ?? []), letter])
    }
    return found
  }
}

/** Letters come oldest first. */
function overdueOf(tenant: string, letters: readonly DeadLetter[]): Overdue {
  return { tenant, items: letters.length, unit: 'letters', oldestMs: letters[0]?.firstMs ?? 0 }
}
