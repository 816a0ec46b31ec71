/** A range of a text and what stands there instead. */
export interface Edit {
  readonly start: number
  readonly end: number
  readonly text: string
}

/** The text with edits that do not overlap, in any order. */
export function applyEdits(text: string, edits: readonly Edit[]): string {
  if (edits.length === 0) return text
  const parts: string[] = []
  let at = 0
  for (const edit of edits.toSorted((a, b) => a.start - b.start)) {
    parts.push(text.slice(at, edit.start), edit.text)
    at = edit.end
  }
  parts.push(text.slice(at))
  return parts.join('')
}

/** Tells whether a range touches none of the edits, which do not overlap. */
export function freeOf(edits: readonly Edit[]): (start: number, end: number) => boolean {
  const sorted = edits.toSorted((a, b) => a.start - b.start)
  return (start, end) => {
    let low = 0
    let high = sorted.length
    while (low < high) {
      const middle = (low + high) >>> 1
      if (sorted[middle]!.start < end) low = middle + 1
      else high = middle
    }
    return low === 0 || sorted[low - 1]!.end <= start
  }
}
