import type { z } from 'zod'
import { isStep, timeline } from '../steps.ts'
import type { ReportSpan, Run, RunSpan, Validator } from '../validator.ts'
import type { config } from './config.ts'

type Gap = z.output<typeof config>['gaps'][number]

export class Timelag implements Validator {
  readonly #settings: z.output<typeof config>

  constructor(settings: z.output<typeof config>) {
    this.#settings = settings
  }

  judgeRun(run: Run, report: ReportSpan): void {
    const steps = timeline(run)
    this.#judgeGaps(steps, report)
    this.#judgeLength(steps, report)
    for (const [index, gap] of this.#settings.gaps.entries()) this.#judgePair(steps, gap, index, report)
  }

  #judgeGaps(steps: readonly RunSpan[], report: ReportSpan): void {
    const { max_gap, max_clock_skew, severity } = this.#settings
    let end = -Infinity
    let before: RunSpan | undefined
    for (const step of steps) {
      const gap = step.startMs - end
      if (max_gap > 0 && gap > max_gap && end !== -Infinity) {
        report({ rule: 'gap', severity, message: `nothing happened for ${seconds(gap)}` }, step)
      }
      const back = before === undefined ? 0 : before.endMs - step.endMs
      if (max_clock_skew > 0 && step.seq > 0 && back > max_clock_skew) {
        const message = `event ${step.seq} is ${seconds(back)} older than the one before it`
        report({ rule: 'clock_back', severity, message }, step)
      }
      end = Math.max(end, step.endMs)
      before = step
    }
  }

  #judgeLength(steps: readonly RunSpan[], report: ReportSpan): void {
    const { max_run, severity } = this.#settings
    if (max_run === 0 || steps.length === 0) return
    let [start, end] = [Infinity, -Infinity]
    for (const { startMs, endMs } of steps) {
      start = Math.min(start, startMs)
      end = Math.max(end, endMs)
    }
    if (end - start > max_run) {
      report({ rule: 'long_run', severity, message: `the run took ${seconds(end - start)}` })
    }
  }

  #judgePair(steps: readonly RunSpan[], { from, to, max }: Gap, index: number, report: ReportSpan): void {
    let last: RunSpan | undefined
    for (const step of steps) {
      if (last !== undefined && isStep(to, step)) {
        const gap = step.startMs - last.endMs
        const message = `${seconds(gap)} from ${from} to ${to}`
        const rule = `step_gap_${index + 1}`
        if (gap > max) report({ rule, severity: this.#settings.severity, message }, step)
        last = undefined
      }
      if (isStep(from, step)) last = step
    }
  }
}

function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`
}
