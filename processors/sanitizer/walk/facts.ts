import type { SpanFacts } from '../../../pipeline/batch/facts.ts'

/** Columns that an earlier processor took from the spans' texts. */
export function scrubFacts(facts: SpanFacts, scrub: (text: string) => string): void {
  for (const column of Object.values(facts) as unknown[]) {
    if (!Array.isArray(column)) continue
    for (let row = 0; row < column.length; row++) {
      const value: unknown = column[row]
      if (typeof value === 'string' && value !== '') column[row] = scrub(value)
    }
  }
}
