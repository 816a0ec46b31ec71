import type { WalDriver, WalInfo } from '../../pipeline/wal/driver.ts'
import type { WalConfig } from './config.ts'

/** From this share of the limit on, an exporter that may be skipped is. Refusal begins at the limit itself. */
const FULL = 0.95
const LOOK_MS = 500
/** The reader books what it skipped first. */
const KICK_MS = 20

/** Decides whose data makes way when the WAL is full. */
export class FullPolicy {
  readonly #whenFull: WalConfig['when_full']
  readonly #driver: WalDriver
  readonly #onSkip: () => void
  #seen: { readonly info: WalInfo; readonly at: number } | undefined

  constructor(whenFull: WalConfig['when_full'], driver: WalDriver, onSkip: () => void) {
    this.#whenFull = whenFull
    this.#driver = driver
    this.#onSkip = onSkip
  }

  /** True when the log is full, this exporter may lose data, and nothing older than its range is in the way. */
  async mustSkip(exporterId: string, from: number): Promise<boolean> {
    if (this.#policy(exporterId) !== 'skip') return false
    const { bytes, maxBytes, firstSeq } = await this.#look()
    if (bytes < FULL * maxBytes || from > firstSeq) return false
    this.#seen = undefined
    setTimeout(this.#onSkip, KICK_MS).unref()
    return true
  }

  #policy(exporterId: string): 'refuse' | 'skip' {
    if (typeof this.#whenFull === 'string') return this.#whenFull
    return this.#whenFull[exporterId] ?? 'refuse'
  }

  async #look(): Promise<WalInfo> {
    const now = performance.now()
    if (this.#seen === undefined || now - this.#seen.at > LOOK_MS) {
      this.#seen = { info: await this.#driver.info(), at: now }
    }
    return this.#seen.info
  }
}
