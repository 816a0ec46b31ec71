import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { Counter } from '../../pipeline/telemetry/meter.ts'
import { annotate, ruleName, type Judged } from './annotate.ts'
import type { ValidatorsConfig } from './config.ts'
import { Policies, rank } from './policies.ts'
import type { LoadedValidator } from './validator.ts'

/** Judges spans before they are stored: rejects what is at or above its tenant's threshold, annotates the rest. */
export class Validators implements Processor {
  readonly #policies: Policies
  readonly #counter: Counter | undefined

  constructor(
    config: ValidatorsConfig,
    context: Pick<Context, 'meter' | 'counts'>,
    validators: readonly LoadedValidator[],
  ) {
    this.#policies = new Policies(config, validators)
    this.#counter = context.counts === false ? undefined : context.meter.counter('weir_violations')
  }

  process(batch: Batch): Outcome | undefined {
    const { judges, threshold } = this.#policies.of(batch.meta.tenant)
    let found: Map<number, Judged[]> | undefined
    for (const { name, validator } of judges) {
      validator.judge?.(batch, (row, finding) => {
        found ??= new Map()
        const judged = { ...finding, validator: name }
        const others = found.get(row)
        if (others === undefined) found.set(row, [judged])
        else others.push(judged)
      })
    }
    return found === undefined ? undefined : this.#settle(batch, found, threshold)
  }

  #settle(batch: Batch, found: ReadonlyMap<number, Judged[]>, threshold: number): Outcome | undefined {
    const rejected = new Map<string, number[]>()
    for (const [row, findings] of found) {
      for (const { validator, severity } of findings) this.#counter?.add(1, { validator, severity })
      const grave = findings.filter(({ severity }) => rank(severity) >= threshold)
      if (grave.length === 0) annotate(batch, row, findings)
      else add(rejected, reasonOf(grave), row)
    }
    if (rejected.size === 0) return undefined
    return { rejected: Array.from(rejected, ([reason, rows]) => ({ rows, reason })) }
  }
}

const MOST_REASONS = 4

/** Names the rules, gravest first. */
function reasonOf(findings: readonly Judged[]): string {
  const sorted = findings.toSorted((a, b) => rank(b.severity) - rank(a.severity)).slice(0, MOST_REASONS)
  const texts = sorted.map((judged) => `${ruleName(judged)} (${judged.severity}): ${judged.message}`)
  return `validators: ${texts.join('; ')}`
}

function add(rows: Map<string, number[]>, reason: string, row: number): void {
  const same = rows.get(reason)
  if (same === undefined) rows.set(reason, [row])
  else same.push(row)
}
