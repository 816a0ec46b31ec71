import type { z } from 'zod'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { fits } from '../steps.ts'
import { shellInjection } from '../text/shell.ts'
import { sqlInjection } from '../text/sql.ts'
import type { Finding, ReportRow, ReportSpan, Run, Validator } from '../validator.ts'
import { agentsAbove, callOf, textsIn, type Call } from './call.ts'
import type { config } from './config.ts'
import { compile } from './parameters.ts'

type Settings = z.output<typeof config>

export class ActionMisuse implements Validator {
  readonly #settings: Settings
  readonly #schemas: readonly { action: string; judge: (parameters: unknown) => string | undefined }[]
  readonly judgeRun?: (run: Run, report: ReportSpan) => void

  constructor(settings: Settings) {
    this.#settings = settings
    this.#schemas = settings.parameters.flatMap(({ action, schema }) => {
      const compiled = compile(schema)
      return compiled.problem === undefined ? [{ action, judge: compiled.judge }] : []
    })
    if (settings.agents.length > 0) this.judgeRun = (run, report) => this.#judgeNameless(run, report)
  }

  judge(batch: Batch, report: ReportRow): void {
    for (let row = 0; row < batch.rows; row++) {
      const call = batch.isLive(row) ? callOf(batch, row) : undefined
      if (call === undefined) continue
      for (const finding of this.#judgeCall(call)) report(row, finding)
    }
  }

  *#judgeCall(call: Call): Iterable<Finding> {
    if (call.agents.length > 0) yield* this.#judgeRight(call.action, call.agents)
    yield* this.#judgeParameters(call)
    yield* this.#judgeTexts(call)
  }

  /** Whether the first entry that fits the agent, by any of its names, lets it do that. */
  *#judgeRight(action: string, agents: readonly string[]): Iterable<Finding> {
    const entry = this.#settings.agents.find(({ agent }) => agents.some((name) => fits(agent, name)))
    if (entry === undefined) return
    const { severity } = this.#settings
    const denied = entry.deny.find((pattern) => fits(pattern, action))
    if (denied !== undefined) {
      yield { rule: 'denied_action', severity, message: `agents ${entry.agent} may not do ${denied}` }
    } else if (entry.allow?.some((pattern) => fits(pattern, action)) === false) {
      const message = `agents ${entry.agent} may do only what their list allows`
      yield { rule: 'action_not_allowed', severity, message }
    }
  }

  *#judgeParameters({ action, parameters }: Call): Iterable<Finding> {
    const schema = this.#schemas.find(({ action: pattern }) => fits(pattern, action))
    const problem = schema?.judge(parameters ?? {})
    if (problem === undefined) return
    yield { rule: 'bad_parameters', severity: this.#settings.severity, message: `parameters: ${problem}` }
  }

  *#judgeTexts({ action, parameters }: Call): Iterable<Finding> {
    const { injection, code_actions } = this.#settings
    if (injection === 'NONE' || code_actions.some((pattern) => fits(pattern, action))) return
    const found = new Set<string>()
    for (const { text, isCommand } of textsIn(parameters)) {
      const shell = isCommand ? undefined : shellInjection(text)
      const sql = sqlInjection(text)
      if (shell !== undefined) found.add(`shell_${shell}`)
      if (sql !== undefined) found.add(`sql_${sql}`)
    }
    for (const rule of found) {
      yield { rule, severity: injection, message: 'a parameter looks like an injected command' }
    }
  }

  /** Spans that name no agent are of the one above them, which only the run tells. */
  #judgeNameless({ spans, agent }: Run, report: ReportSpan): void {
    const byId = new Map(spans.map((span) => [span.spanId, span]))
    for (const span of spans) {
      const call = callOf(span.batch, span.row)
      if (call === undefined || call.agents.length > 0) continue
      const names = agentsAbove(span, byId)
      const above = names.length > 0 || agent === '' ? names : [agent]
      if (above.length === 0) continue
      for (const finding of this.#judgeRight(call.action, above)) report(finding, span)
    }
  }
}
