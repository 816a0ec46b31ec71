import type { z } from 'zod'
import { rawView, type RawView } from '../../../pipeline/batch/raw.ts'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { SPAN } from '../../../proto/otlp/table.ts'
import { exfiltration } from '../text/exfiltration.ts'
import { InjectionDetector, type Origin } from '../text/injection.ts'
import type { Finding, ReportRow, Severity, Validator } from '../validator.ts'
import type { config } from './config.ts'
import { textsOf, type Source } from './messages.ts'
import { TextFinder, type Found } from './texts.ts'

/** Shared by all tenants: it keeps nothing but scratch memory. */
let shared: InjectionDetector | undefined

const ORIGINS: Readonly<Partial<Record<Source, Origin>>> = {
  user: 'direct',
  tool: 'indirect',
  document: 'indirect',
}
const WORDS: Readonly<Record<Source, string>> = {
  user: 'what the user wrote',
  tool: 'what a tool returned',
  document: 'a retrieved document',
  model: "the model's answer",
  none: '',
}

/** Looks for attempts to give a model instructions, in what users wrote and in what tools and documents brought in. */
export class PromptInjection implements Validator {
  readonly #settings: z.output<typeof config>
  readonly #detector: InjectionDetector
  readonly #finder: TextFinder

  constructor(settings: z.output<typeof config>) {
    this.#settings = settings
    this.#detector = shared ??= new InjectionDetector()
    this.#finder = new TextFinder(this.#detector)
  }

  judge(batch: Batch, report: ReportRow): void {
    const view = rawView(batch)
    for (let row = 0; row < view.table.rows; row++) this.#span(batch, view, row, report)
  }

  #span(batch: Batch, view: RawView, row: number, report: ReportRow): void {
    const { spans } = view.table
    const at = row * SPAN.width
    const original = view.rows?.[row] ?? row
    let rules: Set<string> | undefined
    const each = (found: Found): void => {
      rules ??= new Set()
      for (const finding of this.#findings(found)) {
        if (rules.has(finding.rule)) continue
        rules.add(finding.rule)
        report(original, finding)
      }
    }
    this.#finder.attributes(
      batch,
      view,
      original,
      spans[at + SPAN.firstAttr]!,
      spans[at + SPAN.endAttr]!,
      each,
    )
    if (spans[at + SPAN.endEvent]! > spans[at + SPAN.firstEvent]!)
      this.#finder.events(view, spans[at + SPAN.firstEvent]!, spans[at + SPAN.endEvent]!, each)
  }

  #findings({ value, source, key }: Found): Finding[] {
    const findings: Finding[] = []
    const { direct, indirect, trusted_hosts: trusted } = this.#settings
    const add = (rule: string, severity: Severity | 'NONE', message: string): void => {
      if (severity !== 'NONE') findings.push({ rule, severity, message })
    }
    textsOf(value, source, (text, of) => {
      const origin = ORIGINS[of]
      const severity = origin === 'direct' ? direct : indirect
      const found =
        origin === undefined || severity === 'NONE' ? undefined : this.#detector.judge(text, origin)
      if (found !== undefined) {
        const hidden = found.hidden === '' ? '' : `, hidden by ${found.hidden}`
        const where = `${WORDS[of]} in ${key} reads like instructions to the model`
        add(
          `${origin}_${found.rule}`,
          severity,
          `${where} (${found.score.toFixed(1)} times the threshold${hidden})`,
        )
      }
      const carried = this.#settings.exfiltration === 'NONE' ? undefined : exfiltration(text, trusted)
      if (carried !== undefined && of !== 'user')
        add(
          `${carried.by}_exfiltration`,
          this.#settings.exfiltration,
          `the address of a ${carried.by} in ${WORDS[of]} in ${key} carries data`,
        )
    })
    return findings
  }
}
