import type { Batch } from '../../pipeline/batch/batch.ts'
import { SpanBlock } from './block.ts'
import { fill, type Chunk, type Place } from './feed.ts'
import { SpanWriter } from './span-writer.ts'

export const START: Place = { batch: 0, row: 0 }

/** A block and what fills it. */
export class Page {
  readonly block = new SpanBlock()
  readonly writer = new SpanWriter(this.block)
}

interface Staged {
  readonly batches: readonly Batch[]
  readonly live: readonly number[]
  readonly chunk: Chunk
}

/** Two pages: while one is being inserted, the other takes the first chunk of the delivery that comes next. */
export class Stage {
  #current = new Page()
  #spare: Page | undefined
  #staged: Staged | undefined

  get current(): Page {
    return this.#current
  }

  prepare(batches: readonly Batch[]): void {
    // First: what cannot be encoded throws here, and again when it is delivered.
    this.#staged = undefined
    const page = (this.#spare ??= new Page())
    const live = batches.map((batch) => batch.live)
    this.#staged = { batches, live, chunk: fill(page.block, page.writer, batches, START) }
  }

  /** The page for a delivery, with its first chunk where that was prepared from these very batches. */
  take(batches: readonly Batch[]): { readonly page: Page; readonly first: Chunk | undefined } {
    const staged = this.#staged
    if (staged === undefined || this.#spare === undefined || !isOf(staged, batches)) {
      return { page: this.#current, first: undefined }
    }
    this.#staged = undefined
    ;[this.#current, this.#spare] = [this.#spare, this.#current]
    return { page: this.#current, first: staged.chunk }
  }
}

function isOf(staged: Staged, batches: readonly Batch[]): boolean {
  return (
    staged.batches.length === batches.length &&
    batches.every((batch, at) => batch === staged.batches[at] && batch.live === staged.live[at])
  )
}
