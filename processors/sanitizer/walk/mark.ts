import { type AttrRef, type Batch, NONE } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'

/**
 * The attribute by which a sender asks for redaction: on a span for its attributes and those of its events and links,
 * on a resource for those of the resource and of all its spans. A list of keys (or one text with commas): `user.name`,
 * `gen_ai.*`, `*`; `name` and `status.message` are the span's own.
 */
export const MARK = 'weir.redact'
const MARK_KEY = keyId(MARK)

export class Marks {
  readonly #exact = new Set<string>()
  readonly #prefixes: string[] = []

  constructor(...lists: readonly string[]) {
    for (const list of lists) {
      for (const name of namesIn(list)) {
        if (name === '*') this.#prefixes.push('')
        else if (name.endsWith('*')) this.#prefixes.push(name.slice(0, -1))
        else if (name !== '') this.#exact.add(name)
      }
    }
  }

  get isEmpty(): boolean {
    return this.#exact.size + this.#prefixes.length === 0
  }

  has(name: string): boolean {
    if (name === MARK) return false
    return this.#exact.has(name) || this.#prefixes.some((prefix) => name.startsWith(prefix))
  }
}

/** For the texts of a span. */
export function marksOf(batch: Batch, row: number): Marks {
  const marks = [batch.resourceAttr(row, MARK_KEY), batch.attr(row, MARK_KEY)]
  return new Marks(...marks.map((mark) => namesAt(batch, mark)))
}

/** For the texts of the resource itself, by its place in the request: it may have no spans. */
export function resourceMarksOf(batch: Batch, resource: number): Marks {
  return new Marks(namesAt(batch, batch.attrOfResource(resource, MARK_KEY)))
}

function namesAt(batch: Batch, mark: AttrRef): string {
  return mark === NONE ? '' : batch.text(mark)
}

export function hasResourceMark(batch: Batch, row: number): boolean {
  return batch.resourceAttr(row, MARK_KEY) >= 0
}

/** A JSON list of strings (as a list's text is), or names between commas. */
function namesIn(list: string): string[] {
  if (!list.startsWith('[')) return list.split(',').map((name) => name.trim())
  try {
    return (JSON.parse(list) as unknown[]).filter((name) => typeof name === 'string')
  } catch {
    return []
  }
}
