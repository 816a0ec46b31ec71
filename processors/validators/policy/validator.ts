import type { Context } from '@marcbachmann/cel-js'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { Finding, ReportRow, ReportSpan, Run, Validator } from '../validator.ts'
import type { Rule } from './config.ts'
import { compile } from './expression.ts'
import { runVariables } from './run-variables.ts'
import { SpanVariables } from './variables.ts'

interface Compiled {
  readonly finding: Finding
  readonly variables: SpanVariables
  readonly test: (variables: Context) => boolean
}

/** Has only the phases that its rules are for. */
export function checker(rules: readonly Rule[]): Validator {
  const ofSpans = rules.filter(({ scope }) => scope === 'span').map(prepared)
  const ofRuns = rules.filter(({ scope }) => scope === 'run').map(prepared)
  return {
    ...(ofSpans.length > 0 && { judge: (batch, report) => judgeSpans(ofSpans, batch, report) }),
    ...(ofRuns.length > 0 && { judgeRun: (run, report) => judgeRun(ofRuns, run, report) }),
  }
}

function judgeSpans(rules: readonly Compiled[], batch: Batch, report: ReportRow): void {
  for (const { finding, variables, test } of rules) {
    for (let row = 0; row < batch.rows; row++) {
      if (!batch.isLive(row) || !variables.fill(batch, row)) continue
      if (test(variables.context)) report(row, finding)
    }
  }
}

function judgeRun(rules: readonly Compiled[], run: Run, report: ReportSpan): void {
  const context = { run: runVariables(run) }
  for (const { finding, test } of rules) if (test(context)) report(finding)
}

function prepared({ name, when, scope, severity, message }: Rule): Compiled {
  const compiled = compile(when, scope)
  // The config's schema has compiled it before.
  if (compiled.problem !== undefined) throw new Error(`rule ${name}: ${compiled.problem}`)
  return {
    finding: { rule: name, severity, message: message ?? `the rule ${name} is broken` },
    variables: new SpanVariables(scope === 'span' ? compiled.references : []),
    test: compiled.test,
  }
}
