import { faultOf, messageOf } from '../fault.ts'
import { FencedWriter } from '../state/fenced-writer.ts'
import type { Log } from '../telemetry/log.ts'
import type { HeldCursor } from './cursor-store.ts'
import type { DedupeWindow } from './dedupe.ts'
import { encodePage, pageKey, PAGE_MS, PAGE_SIGHTINGS, type PagePlace } from './dedupe-pages.ts'
import type { OpenPage, Rebuilt } from './dedupe-rebuild.ts'
import type { Mark, RawRange } from './reader-source.ts'

/** A start reads again what came since the last save: a second's work at most. */
const SAVE_MS = 1000
const SAVE_BYTES = 64 * 1024 * 1024

/**
 * Notes in state what a cursor has passed, page by page. The newest page is written again until it is full. How far it
 * came is in the cursor's record, as `window`, and the trimmer leaves what is not noted yet.
 */
export class DedupeJournal {
  readonly #options: PagePlace & { readonly log: Log }
  readonly #held: HeldCursor
  readonly #window: DedupeWindow
  readonly #writer: FencedWriter
  readonly #signal: AbortSignal
  /** Messages that were passed, and are in no page yet. */
  readonly #marks: Mark[]
  #page: OpenPage
  /** The page has what is not written. */
  #isDirty = false
  #isFailing = false
  #bytes = 0
  #savedMs = performance.now()

  /** What goes on when `signal` aborts is given up. */
  constructor(
    held: HeldCursor,
    rebuilt: Rebuilt,
    options: PagePlace & { readonly log: Log },
    signal: AbortSignal,
  ) {
    this.#options = options
    this.#held = held
    this.#signal = signal
    this.#writer = new FencedWriter(options.state, () => held.save({}, signal))
    this.#window = rebuilt.window
    this.#page = rebuilt.open
    this.#marks = [...rebuilt.marks]
  }

  /** Before the cursor passes anything: from where on the log is needed. */
  async begin(): Promise<void> {
    const { number: page, upTo } = this.#page
    if (this.#held.record.window === undefined)
      await this.#held.save({ window: { page, upTo } }, this.#signal)
  }

  /** The cursor has passed the range. */
  note({ marks, bytes }: Pick<RawRange, 'marks' | 'bytes'>): void {
    for (const mark of marks) this.#marks.push(mark)
    this.#bytes += bytes
  }

  /** Infinity: there is nothing to save. */
  msUntilDue(): number {
    if (!this.#isDirty && this.#marks.length === 0) return Infinity
    const ageMs = performance.now() - this.#savedMs
    return this.#bytes >= SAVE_BYTES ? 0 : SAVE_MS - ageMs
  }

  /** Saves if it is time. What fails is told once, and made good later; who lost the lease finds out elsewhere. */
  async saveIfDue(): Promise<void> {
    if (this.msUntilDue() > 0) return
    this.#savedMs = performance.now()
    this.#bytes = 0
    try {
      await this.#save()
      this.#isFailing = false
    } catch (error) {
      if (this.#signal.aborted) return
      const fault = faultOf(error)
      if (fault?.verdict.do !== 'retry') throw error
      if (fault.code === 'LEASE_LOST' || this.#isFailing) return
      this.#isFailing = true
      this.#options.log.warn(
        { cursor: this.#held.record.cursor, error: messageOf(error) },
        'What was passed could not be noted; until it is, the log keeps it',
      )
    }
  }

  async #save(): Promise<void> {
    let done = 0
    try {
      for (; done < this.#marks.length; done++) await this.#add(this.#marks[done]!)
    } finally {
      this.#marks.splice(0, done)
    }
    await this.#write()
    const { number: page, upTo } = this.#page
    await this.#held.save({ window: { page, upTo } }, this.#signal)
  }

  /** A message that fills the page goes on in the next one. */
  async #add(mark: Mark): Promise<void> {
    if (this.#isOld(mark)) await this.#turn()
    while (mark.seen - this.#page.first > PAGE_SIGHTINGS) {
      this.#take(mark, this.#page.upTo, this.#page.first + PAGE_SIGHTINGS)
      await this.#turn()
    }
    this.#take(mark, mark.seq, mark.seen)
  }

  #isOld({ timeMs }: Mark): boolean {
    const since = this.#page.marks.find((mark) => mark.timeMs > 0)?.timeMs
    return since !== undefined && timeMs > 0 && Math.abs(timeMs - since) > PAGE_MS
  }

  #take(mark: Mark, upTo: number, end: number): void {
    const page = this.#page
    if (page.marks.at(-1) !== mark) page.marks.push(mark)
    page.upTo = upTo
    page.end = end
    this.#isDirty = true
  }

  /** Ends the page and begins the next. */
  async #turn(): Promise<void> {
    await this.#write()
    const { number, upTo, end } = this.#page
    this.#page = { number: number + 1, from: upTo + 1, first: end, upTo, end, marks: [] }
  }

  async #write(): Promise<void> {
    if (!this.#isDirty) return
    this.#signal.throwIfAborted()
    const key = pageKey(this.#options.connector, this.#held.record.cursor, this.#page.number)
    await this.#writer.write(key, this.#encoded())
    this.#isDirty = false
  }

  #encoded(): Uint8Array {
    const { number, from, upTo, first, end, marks } = this.#page
    const { epoch } = this.#held.record
    // What the window has forgotten meanwhile nobody needs.
    const start = Math.max(first, Math.min(this.#window.first, end))
    const seqs = new Float64Array(end - start)
    let at = start
    for (const { seq, seen } of marks) for (; at < Math.min(seen, end); at++) seqs[at - start] = seq
    return encodePage({ number, epoch, from, upTo, seqs, ...this.#window.sightings(start, end) })
  }
}
