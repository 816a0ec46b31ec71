import type { z } from 'zod'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { fits, isCall, isStep, timeline } from '../steps.ts'
import type { ReportRun, ReportSpan, Run, RunSpan, RunSummary, Validator } from '../validator.ts'
import type { config } from './config.ts'

type Limit = z.output<typeof config>['limits'][number]

/** What a call was made with. */
const ARGUMENTS = ['toon.payload', 'gen_ai.tool.call.arguments', 'input.value', 'ai.toolCall.args'].map(keyId)

export class EventFrequency implements Validator {
  readonly #settings: z.output<typeof config>

  constructor(settings: z.output<typeof config>) {
    this.#settings = settings
  }

  judgeRun(run: Run, report: ReportSpan): void {
    const steps = timeline(run)
    for (const [index, limit] of this.#settings.limits.entries()) {
      if (fits(limit.agent, run.agent)) judgeLimit(steps, limit, index, report)
    }
    if (this.#settings.max_repeats > 0) this.#judgeLoops(run, report)
  }

  #judgeLoops({ spans }: Run, report: ReportSpan): void {
    const { max_repeats, severity } = this.#settings
    const counts = new Map<string, number>()
    for (const span of spans) {
      if (!isCall(span) || span.action === '') continue
      const call = `${span.action}\0${argumentsOf(span)}`
      const count = (counts.get(call) ?? 0) + 1
      counts.set(call, count)
      if (count !== max_repeats + 1) continue
      const message = `the same call was made more than ${max_repeats} times`
      report({ rule: 'loop', severity, message }, span)
    }
  }

  judgeRuns(runs: readonly RunSummary[], report: ReportRun): void {
    const { unusual, min_runs, severity } = this.#settings
    if (unusual === 0) return
    for (const same of byAgent(runs)) {
      if (same.length < min_runs) continue
      const usual = median(same.map(({ spans }) => spans))
      // Where all are alike, one more or less is nothing unusual.
      const deviation = Math.max(1, median(same.map(({ spans }) => Math.abs(spans - usual))))
      for (const run of same) {
        if (Math.abs(run.spans - usual) <= unusual * deviation) continue
        const message = `${run.spans} steps, where ${usual} are usual for the agent`
        report(run, { rule: 'unusual_count', severity, message })
      }
    }
  }
}

function judgeLimit(steps: readonly RunSpan[], limit: Limit, index: number, report: ReportSpan): void {
  const { step, max, per, severity } = limit
  const found = steps.filter((span) => isStep(step, span)).toSorted((a, b) => a.startMs - b.startMs)
  // The first so many that lie within the time.
  const over = found.find((span, at) => {
    const first = found[at - max]
    return first !== undefined && (per === 0 || span.startMs - first.startMs <= per)
  })
  if (over === undefined) return
  const when = per === 0 ? 'in the run' : `within ${per / 1000} s`
  report({ rule: `limit_${index + 1}`, severity, message: `more than ${max} of ${step} ${when}` }, over)
}

function argumentsOf({ batch, row }: RunSpan): string {
  for (const key of ARGUMENTS) {
    const ref = batch.attr(row, key)
    if (ref >= 0) return batch.text(ref)
  }
  return ''
}

function byAgent(runs: readonly RunSummary[]): Iterable<readonly RunSummary[]> {
  const groups = new Map<string, RunSummary[]>()
  for (const run of runs) {
    const same = groups.get(run.agent)
    if (same === undefined) groups.set(run.agent, [run])
    else same.push(run)
  }
  return groups.values()
}

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? 0
  return sorted.length % 2 === 1 ? upper : (upper + (sorted[middle - 1] ?? upper)) / 2
}
