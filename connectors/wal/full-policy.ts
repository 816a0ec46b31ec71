import type { WalDriver, WalInfo } from '../../pipeline/wal/driver.ts'
import type { WalConfig } from './config.ts'

/** An exporter that may be skipped is, once what it has not taken fills this share of the limit … */
const FROM = 0.9
/** … down to this share, from which the trimmer has nothing to hurry for. */
const DOWN_TO = 0.8
const LOOK_MS = 250
/** The reader books what it skipped first. */
const KICK_MS = 20

/** Decides whose data makes way when the WAL is full. */
export class FullPolicy {
  readonly #whenFull: WalConfig['when_full']
  readonly #driver: WalDriver
  readonly #onSkip: () => void
  readonly #skipping = new Set<string>()
  #seen: { readonly info: WalInfo; readonly at: number } | undefined

  constructor(whenFull: WalConfig['when_full'], driver: WalDriver, onSkip: () => void) {
    this.#whenFull = whenFull
    this.#driver = driver
    this.#onSkip = onSkip
  }

  /** True when this exporter may lose data and what it has not taken, from sequence `from` on, fills the log. */
  async mustSkip(exporterId: string, from: number): Promise<boolean> {
    if (this.#policy(exporterId) !== 'skip') return false
    const { bytes, maxBytes, firstSeq, lastSeq } = await this.#look()
    const share = (lastSeq - Math.max(from, firstSeq) + 1) / Math.max(1, lastSeq - firstSeq + 1)
    const limit = this.#skipping.has(exporterId) ? DOWN_TO : FROM
    if (bytes * share < limit * maxBytes) {
      this.#skipping.delete(exporterId)
      return false
    }
    this.#skipping.add(exporterId)
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
