import { createHmac } from 'node:crypto'
import { pseudonym, wordOf } from '../../pipeline/privacy/pseudonyms.ts'

/** What is done with what was found. */
export const MODES = ['mask', 'hash', 'remove', 'full', 'none'] as const
export type Mode = (typeof MODES)[number]

/** A value that is gone whole; what was masked or given a pseudonym before is not touched again. */
export const WHOLE = '[REDACTED_ALL]'
export const MASKED = /^(?:\[REDACTED(?:_[A-Z0-9_]+)?\]|<[A-Z0-9_]+:[0-9a-f]{16}>)$/

/** How one tenant's findings are treated. */
export class Policy {
  readonly #modes: ReadonlyMap<string, Mode>
  readonly #fallback: Mode
  readonly #salt: Buffer

  /** `salt`: the tenant's own. */
  constructor(fallback: Mode, modes: Readonly<Partial<Record<string, Mode>>>, salt: Buffer) {
    this.#fallback = fallback
    this.#modes = new Map(
      Object.entries(modes).filter((entry): entry is [string, Mode] => entry[1] !== undefined),
    )
    this.#salt = salt
  }

  /** Whatever is found is left. */
  get isIdle(): boolean {
    return this.#fallback === 'none' && [...this.#modes.values()].every((mode) => mode === 'none')
  }

  mode(type: string): Mode {
    return this.#modes.get(type) ?? this.#fallback
  }

  /** What stands in place of `value`. */
  replacement(type: string, value: string): string {
    const mode = this.mode(type)
    if (mode === 'none') return value
    if (mode === 'remove') return ''
    if (mode === 'full') return WHOLE
    if (mode === 'hash') return this.pseudonym(type, value)
    const word = wordOf(type)
    return word === '' ? '[REDACTED]' : `[REDACTED_${word}]`
  }

  pseudonym(type: string, value: string): string {
    return pseudonym(this.#salt, type, value)
  }

  /** A keyed hash over what was there before, in order: equal for equal originals. */
  originals(values: readonly string[]): string {
    const hmac = createHmac('sha256', this.#salt).update('original\0')
    for (const value of values) hmac.update(`${Buffer.byteLength(value)}\0`).update(value)
    return hmac.digest('hex').slice(0, 32)
  }
}
