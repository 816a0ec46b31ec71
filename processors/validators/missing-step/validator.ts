import type { z } from 'zod'
import { fits, isStep } from '../steps.ts'
import type { ReportSpan, Run, Validator } from '../validator.ts'
import type { config } from './config.ts'

export class MissingStep implements Validator {
  readonly #settings: z.output<typeof config>

  constructor(settings: z.output<typeof config>) {
    this.#settings = settings
  }

  judgeRun(run: Run, report: ReportSpan): void {
    const { workflows, final_output } = this.#settings
    const missing = new Set<string>()
    for (const { agent, steps, severity } of workflows) {
      if (!fits(agent, run.agent)) continue
      for (const step of steps) {
        if (missing.has(step) || run.spans.some((span) => isStep(step, span))) continue
        missing.add(step)
        report({ rule: ruleOf(step), severity, message: `the run has no step ${step}` })
      }
    }
    const isEvents = run.spans.some(({ seq }) => seq > 0)
    if (final_output === 'NONE' || !isEvents || run.status !== 'completed') return
    if (missing.has('final_output') || run.spans.some(({ step }) => step === 'final_output')) return
    const message = 'the run completed without a final output'
    report({ rule: 'final_output', severity: final_output, message })
  }
}

/** One rule per step, as verdicts on the same run are told apart by it. */
function ruleOf(step: string): string {
  return step
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, '_')
    .replace(/^_|_$/g, '')
}
