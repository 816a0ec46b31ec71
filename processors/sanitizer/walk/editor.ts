import type { Literal } from '../../../proto/otlp/values.ts'
import type { TextEdits, TextPlace } from '../../../proto/otlp/rewrite-texts.ts'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import type { SensitiveKeys } from '../keys.ts'
import type { Policy } from '../policy.ts'
import type { Outcome, Scrubber } from '../text/scrubber.ts'
import { Marks, marksOf, resourceMarksOf } from './mark.ts'

/** Attributes that say what was done to a span. */
export const REDACTIONS = 'weir.redactions'
export const PATHS = 'weir.redaction.paths'
export const HASH = 'weir.redaction.hash'
const OWN = new Set([REDACTIONS, PATHS, HASH])
const REDACTIONS_KEY = keyId(REDACTIONS)
const PATHS_KEY = keyId(PATHS)
const HASH_KEY = keyId(HASH)
const MOST_PATHS = 32
/** Numbers with fewer digits are nobody's. */
const FEWEST_DIGITS = 7

export interface Redaction {
  readonly type: string
  readonly path: string
  readonly count: number
}

/** Rewrites the suspect spans of a batch, and keeps the record of what it did. */
export class Editor implements TextEdits {
  readonly all: Redaction[] = []
  readonly #batch: Batch
  readonly #rows: ReadonlySet<number>
  readonly #policy: Policy
  readonly #scrubber: Scrubber
  readonly #keys: SensitiveKeys
  #resourceMarks = NO_MARKS
  #marks = NO_MARKS
  /** Of the span that is being walked. */
  #done: Redaction[] = []
  #originals: string[] = []
  /** Rows whose record was already on the span, from a weir before this one. */
  readonly #again = new Map<number, readonly (readonly [string, Literal])[]>()

  constructor(
    batch: Batch,
    rows: ReadonlySet<number>,
    policy: Policy,
    scrubber: Scrubber,
    keys: SensitiveKeys,
  ) {
    this.#batch = batch
    this.#rows = rows
    this.#policy = policy
    this.#scrubber = scrubber
    this.#keys = keys
  }

  entersResource(resource: number): void {
    this.#resourceMarks = resourceMarksOf(this.#batch, resource)
  }

  enters(row: number): boolean {
    this.#marks = NO_MARKS
    if (!this.#rows.has(row)) return false
    this.#marks = marksOf(this.#batch, row)
    this.#done = []
    this.#originals = []
    return true
  }

  leaves(row: number): Iterable<readonly [string, Literal]> {
    this.#marks = NO_MARKS
    if (this.#done.length === 0) return []
    const before = this.#batch.attr(row, REDACTIONS_KEY)
    const count = this.#done.reduce(
      (sum, { count }) => sum + count,
      before < 0 ? 0 : this.#batch.number(before) || 0,
    )
    const paths = this.#done.slice(0, MOST_PATHS).map(({ type, path, count }) => `${type} ${path} ${count}`)
    const record = [
      [REDACTIONS, count],
      [PATHS, paths],
      [HASH, this.#policy.originals(this.#originals)],
    ] as const
    if (before < 0) return record
    this.#again.set(row, record)
    return []
  }

  /** Writes the records that could not be added as the spans were walked. */
  finish(): void {
    for (const [row, record] of this.#again) {
      for (const [key, value] of record) this.#batch.set(row, KEY_IDS[key]!, value)
    }
  }

  text(value: string, place: TextPlace): string | undefined {
    if (value === '' || OWN.has(place.key)) return undefined
    return this.#edit(value, place)
  }

  bytes(value: Buffer, place: TextPlace): Uint8Array | undefined {
    const text = value.toString('utf8')
    const encoding = text.includes('\ufffd') ? 'latin1' : 'utf8'
    const edited = this.#edit(encoding === 'utf8' ? text : value.toString('latin1'), place)
    return edited === undefined ? undefined : Buffer.from(edited, encoding)
  }

  number(value: bigint | number, place: TextPlace): string | undefined {
    if (OWN.has(place.key)) return undefined
    const text = String(value)
    if (!this.#isHidden(place) && text.length < FEWEST_DIGITS) return undefined
    return this.#edit(text, place)
  }

  hides(place: TextPlace): boolean {
    return this.#keys.has(place.innerKey)
  }

  keepsUnknown(value: Buffer, place: TextPlace): boolean {
    return (
      this.#edit(value.toString('utf8'), { ...place, path: `${place.path}(unknown field)` }) === undefined
    )
  }

  #edit(value: string, place: TextPlace): string | undefined {
    const outcome: Outcome = { policy: this.#policy, counts: new Map(), isWhole: false }
    const edited = this.#isHidden(place)
      ? this.#scrubber.hide(value, this.#isMarked(place) ? 'marked' : 'sensitive_key', outcome)
      : this.#scrubber.scrub(value, place.innerKey, outcome)
    if (edited === undefined || edited === value) return undefined
    const path = place.holder === 'span' ? place.path : `${place.holder}:${place.path}`
    for (const [type, count] of outcome.counts) {
      const redaction = { type, path, count }
      this.#done.push(redaction)
      this.all.push(redaction)
    }
    this.#originals.push(value)
    return edited
  }

  #isHidden(place: TextPlace): boolean {
    return place.hidden || this.#isMarked(place)
  }

  #isMarked(place: TextPlace): boolean {
    const marks = place.holder === 'resource' ? this.#resourceMarks : this.#marks
    return !marks.isEmpty && place.holder !== 'other' && marks.has(place.key === '' ? place.path : place.key)
  }
}

const NO_MARKS = new Marks()
const KEY_IDS: Readonly<Record<string, typeof REDACTIONS_KEY>> = {
  [REDACTIONS]: REDACTIONS_KEY,
  [PATHS]: PATHS_KEY,
  [HASH]: HASH_KEY,
}
