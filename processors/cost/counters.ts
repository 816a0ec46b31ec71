import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import type { Counter, Meter } from '../../pipeline/telemetry/meter.ts'

/** Names come from senders: past this many, the rest share one label value. */
const MAX_NAMES = 500
const OTHER = 'other'
const USD = 1e12
const NONE = COST_STATUS.indexOf('none')
const UNPRICED = COST_STATUS.indexOf('unpriced')

interface Tally {
  readonly provider: string
  readonly model: string
  usd: number
  readonly tokens: Float64Array
  readonly unpriced: Map<string, number>
}

/** The counters of meaning: one addition per batch and model, not per span. */
export class Counters {
  readonly #usd: Counter
  readonly #tokens: Counter
  readonly #unpriced: Counter
  readonly #names = new Set<string>()

  constructor(meter: Meter) {
    this.#usd = meter.counter('weir_cost_usd')
    this.#tokens = meter.counter('weir_tokens')
    this.#unpriced = meter.counter('weir_unpriced_spans')
  }

  add(facts: SpanFacts, isLive: (row: number) => boolean): void {
    const tallies = new Map<string, Map<string, Tally>>()
    for (let row = 0; row < facts.rows; row++) {
      if (facts.costStatus[row] !== NONE && isLive(row)) this.#count(facts, row, tallies)
    }
    for (const models of tallies.values()) for (const tally of models.values()) this.#publish(tally)
  }

  #count(facts: SpanFacts, row: number, tallies: Map<string, Map<string, Tally>>): void {
    const provider = this.#name(facts.provider[row] ?? '')
    const model = this.#name(facts.priceModel[row] || facts.responseModel[row] || '')
    let models = tallies.get(provider)
    if (models === undefined) tallies.set(provider, (models = new Map()))
    let tally = models.get(model)
    if (tally === undefined) {
      tally = { provider, model, usd: 0, tokens: new Float64Array(TOKENS.length), unpriced: new Map() }
      models.set(model, tally)
    }
    tally.usd += Number(facts.cost[row * COSTS.length] ?? 0n) / USD
    for (let bucket = 0; bucket < TOKENS.length; bucket++) {
      tally.tokens[bucket] = (tally.tokens[bucket] ?? 0) + (facts.tokens[row * TOKENS.length + bucket] ?? 0)
    }
    if (facts.costStatus[row] !== UNPRICED) return
    const reason = facts.costReason[row] ?? ''
    tally.unpriced.set(reason, (tally.unpriced.get(reason) ?? 0) + 1)
  }

  #publish({ provider, model, usd, tokens, unpriced }: Tally): void {
    if (usd > 0) this.#usd.add(usd, { provider, model })
    for (let index = 0; index < TOKENS.length; index++) {
      const bucket = TOKENS[index]
      const count = tokens[index] ?? 0
      if (bucket !== undefined && count > 0) this.#tokens.add(count, { provider, model, bucket })
    }
    for (const [reason, spans] of unpriced) this.#unpriced.add(spans, { reason, provider, model })
  }

  #name(name: string): string {
    if (this.#names.has(name)) return name
    if (this.#names.size >= MAX_NAMES || name.length > 100) return OTHER
    this.#names.add(name)
    return name
  }
}
