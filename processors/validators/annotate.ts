import type { Batch } from '../../pipeline/batch/batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { rank } from './policies.ts'
import { textsOf } from './texts.ts'
import { SEVERITIES, type Finding } from './validator.ts'

/** Attributes that say what a span broke. */
const VIOLATIONS = keyId('weir.violations')
const SEVERITY = keyId('weir.violation.severity')
/** Lists that belong together: `<validator>.<rule>`, its severity, its message. */
const RULES = keyId('weir.violation.rules')
const SEVERITY_LIST = keyId('weir.violation.severities')
const MESSAGES = keyId('weir.violation.messages')
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
 * Says on the span which rules it broke, how many, and the highest severity. What a weir before this one found stays,
 * behind what this one found (it may as well be its sender's word): the same rule counts once.
 */
export function annotate(batch: Batch, row: number, findings: readonly Judged[]): void {
  const rules = new Map<string, Pick<Finding, 'severity' | 'message'>>()
  for (const judged of findings) rules.set(ruleName(judged), judged)
  for (const [name, finding] of earlier(batch, row)) if (!rules.has(name)) rules.set(name, finding)
  const broken = [...rules].slice(0, MOST_RULES)
  const highest = Math.max(0, ...Array.from(rules.values(), ({ severity }) => rank(severity)))
  batch.set(row, VIOLATIONS, rules.size)
  batch.set(row, SEVERITY, SEVERITIES[highest] ?? 'INFO')
  batch.set(
    row,
    RULES,
    broken.map(([name]) => name),
  )
  batch.set(
    row,
    SEVERITY_LIST,
    broken.map(([, { severity }]) => severity),
  )
  batch.set(
    row,
    MESSAGES,
    broken.map(([, { message }]) => message),
  )
}

/** What another weir wrote, by rule. */
function earlier(batch: Batch, row: number): Map<string, Pick<Finding, 'severity' | 'message'>> {
  const [rules = [], severities = [], messages = []] = [RULES, SEVERITY_LIST, MESSAGES].map((key) =>
    textsOf(batch, batch.attr(row, key), MOST_RULES),
  )
  return new Map(
    rules.map((rule, index) => {
      const severity = SEVERITIES.find((one) => one === severities[index]) ?? 'INFO'
      return [rule, { severity, message: messages[index] ?? '' }]
    }),
  )
}
