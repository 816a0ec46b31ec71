import type { z } from 'zod'
import { NONE, type Batch } from '../../../pipeline/batch/batch.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { textsOf } from '../texts.ts'
import type { ReportRow, Severity, Validator } from '../validator.ts'
import type { config } from './config.ts'

/** What the sanitizer says it did to a span: entries `<type> <path> <count>`. */
const PATHS = keyId('weir.redaction.paths')
const MOST = 1000

/** Judges what the sanitizer, which stands before it, has found and replaced. */
export class Pii implements Validator {
  readonly #severity: Severity
  readonly #types: ReadonlyMap<string, Severity | 'NONE'>

  constructor({ severity, types }: z.output<typeof config>) {
    this.#severity = severity
    this.#types = new Map(Object.entries(types))
  }

  judge(batch: Batch, report: ReportRow): void {
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row)) continue
      const ref = batch.attr(row, PATHS)
      if (ref === NONE) continue
      const counts = countsOf(textsOf(batch, ref, MOST))
      for (const [type, count] of counts) this.#report(row, type, count, report)
    }
  }

  #report(row: number, type: string, count: number, report: ReportRow): void {
    const severity = this.#types.get(type) ?? this.#severity
    if (severity === 'NONE') return
    report(row, { rule: type, severity, message: `${count} of kind ${type} found` })
  }
}

const ENTRY = /^([a-z][a-z0-9_]{0,63}) .* (\d{1,9})$/s

/** By type. */
function countsOf(entries: readonly string[]): ReadonlyMap<string, number> {
  const counts = new Map<string, number>()
  for (const entry of entries) {
    const [, type, count] = ENTRY.exec(entry) ?? []
    if (type !== undefined) counts.set(type, (counts.get(type) ?? 0) + Number(count))
  }
  return counts
}
