import type { z } from 'zod'
import { fits, isStep } from '../steps.ts'
import type { ReportSpan, Run, RunSpan, Validator } from '../validator.ts'
import type { config } from './config.ts'

export class Sequence implements Validator {
  readonly #settings: z.output<typeof config>

  constructor(settings: z.output<typeof config>) {
    this.#settings = settings
  }

  judgeRun(run: Run, report: ReportSpan): void {
    for (const [index, rule] of this.#settings.order.entries()) {
      if (fits(rule.agent, run.agent)) order(run, rule, index, report)
    }
    this.#judgePairs(run, report)
    this.#judgeEnd(run, report)
    this.#judgeOrphans(run, report)
  }

  /** A response hangs under its request. */
  #judgePairs({ spans, status }: Run, report: ReportSpan): void {
    const { severity } = this.#settings
    const requests = new Map<string, RunSpan>()
    const answered = new Set<string>()
    for (const span of spans) if (span.step === 'action_request') requests.set(span.spanId, span)
    for (const span of spans) {
      if (span.step !== 'action_response') continue
      answered.add(span.parentId)
      if (requests.has(span.parentId)) continue
      const message = `event ${span.seq} is a response, and there was no open request`
      report({ rule: 'response_without_request', severity, message }, span)
    }
    // What is silent may yet answer.
    if (status === 'idle') return
    for (const [id, span] of requests) {
      if (answered.has(id)) continue
      const message = `the request of event ${span.seq} was never answered`
      report({ rule: 'unanswered_request', severity, message }, span)
    }
  }

  #judgeEnd({ spans }: Run, report: ReportSpan): void {
    const events = spans.filter(({ seq }) => seq > 0)
    const end = events.findIndex(({ step }) => step === 'final_output')
    const after = end < 0 ? undefined : events.slice(end + 1).find(({ step }) => step !== 'final_output')
    if (after === undefined) return
    const message = `event ${after.seq} (${after.step}) comes after the final output`
    report({ rule: 'after_final_output', severity: this.#settings.severity, message }, after)
  }

  #judgeOrphans({ spans }: Run, report: ReportSpan): void {
    const { orphans } = this.#settings
    // The root of a run of events comes with its end; a run inside a larger trace hangs under one span of that.
    if (orphans === 'NONE' || spans.some(({ seq }) => seq > 0)) return
    const ids = new Set(spans.map(({ spanId }) => spanId))
    const absent = spans.filter(({ parentId }) => parentId !== '' && !ids.has(parentId))
    const hasRoot = spans.some(({ parentId }) => parentId === '')
    if (absent.length < (hasRoot ? 1 : 2)) return
    const message = `${absent.length} spans hang under parents that never came`
    report({ rule: 'orphans', severity: orphans, message })
  }
}

type Rule = z.output<typeof config>['order'][number]

function order({ spans }: Run, { step, after, severity }: Rule, index: number, report: ReportSpan): void {
  for (const span of spans) {
    if (isStep(after, span)) return
    if (!isStep(step, span)) continue
    return report({ rule: `order_${index + 1}`, severity, message: `${step} came before any ${after}` }, span)
  }
}
