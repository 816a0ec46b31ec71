import { NONE, type Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { SEVERITIES } from './policy-config.ts'

/** What weir's own receivers and validators write on spans (design section 6). */

const VIOLATIONS = keyId('weir.violations')
const SEVERITY = keyId('weir.violation.severity')
const SEQ = keyId('toon.seq')
const RUN_STATUS = keyId('agent.run.status')
const ERROR = SEVERITIES.indexOf('ERROR')

/** The verdict of a validator over a whole run: of that name, as spans of others may be, and with a violation. */
export function isVerdict(batch: Batch, row: number): boolean {
  return batch.name(row).startsWith('validate ') && severityOf(batch, row) >= 0
}

/** Index into SEVERITIES of what validators found on the span, or say by it; −1: nothing. */
export function severityOf(batch: Batch, row: number): number {
  const ref = batch.attr(row, SEVERITY)
  if (ref !== NONE) {
    const index = (SEVERITIES as readonly string[]).indexOf(batch.word(ref))
    return index < 0 ? ERROR : index
  }
  const count = batch.attr(row, VIOLATIONS)
  return count !== NONE && batch.number(count) > 0 ? ERROR : -1
}

/** An event of a run that has a known end. */
export function isRunEvent(batch: Batch, row: number): boolean {
  return batch.attr(row, SEQ) !== NONE
}

/** The root span of a run, which is written when it has ended. */
export function runEnded(batch: Batch, row: number): boolean {
  return batch.attr(row, RUN_STATUS) !== NONE
}
