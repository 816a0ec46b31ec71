import { NONE, type Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { rank } from './policies.ts'
import { textsOf } from './texts.ts'
import { SEVERITIES, type Finding, type Severity } from './validator.ts'

/** Attributes that say what a span broke. */
const VIOLATIONS = keyId('weir.violations')
const SEVERITY = keyId('weir.violation.severity')
const RULES = keyId('weir.violation.rules')
const MOST_RULES = 32

/** A finding and who found it. */
export interface Judged extends Finding {
  readonly validator: string
}

/** `<validator>.<rule>`: what senders and analysts see of it. */
export function ruleName({ validator, rule }: Judged): string {
  return `${validator}.${rule}`
}

/**
 * Says on the span which rules it broke, how many, and the highest severity. What a weir before this one found stays:
 * the same rule counts once.
 */
export function annotate(batch: Batch, row: number, findings: readonly Judged[]): void {
  const rules = new Set([...textsOf(batch, batch.attr(row, RULES), MOST_RULES), ...findings.map(ruleName)])
  const ranks = findings.map(({ severity }) => rank(severity))
  const highest = SEVERITIES[Math.max(earlierRank(batch, row), ...ranks)] ?? 'INFO'
  batch.set(row, VIOLATIONS, rules.size)
  batch.set(row, SEVERITY, highest)
  batch.set(row, RULES, [...rules].slice(0, MOST_RULES))
}

function earlierRank(batch: Batch, row: number): number {
  const ref = batch.attr(row, SEVERITY)
  return ref === NONE ? -1 : SEVERITIES.indexOf(batch.text(ref) as Severity)
}
