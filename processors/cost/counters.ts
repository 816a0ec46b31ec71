import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import type { Counter, Meter } from '../../pipeline/telemetry/meter.ts'

/** Names come from senders: past this many, the rest share one label value. */
const MAX_NAMES = 500
const OTHER = 'other'
const USD = 1e12
const NONE = COST_STATUS.indexOf('none')
const UNPRICED = COST_STATUS.indexOf('unpriced')

interface Tally {
  /** As the spans have them. */
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

  /** `costs`: `halves(facts.cost)`. */
  add(facts: SpanFacts, costs: Uint32Array, isLive: (row: number) => boolean): void {
    const tallies = new Tallies()
    for (let row = 0; row < facts.rows; row++) {
      if (facts.costStatus[row] !== NONE && isLive(row)) this.#count(facts, costs, row, tallies)
    }
    for (const tally of tallies.all) this.#publish(tally)
  }

  #count(facts: SpanFacts, costs: Uint32Array, row: number, tallies: Tallies): void {
    const model = facts.priceModel.at(row) || facts.responseModel.at(row) || ''
    const tally = tallies.of(facts.provider.at(row), model)
    const cost = row * COSTS.length * 2
    tally.usd += ((costs[cost + 1] ?? 0) * 2 ** 32 + (costs[cost] ?? 0)) / USD
    for (let bucket = 0; bucket < TOKENS.length; bucket++) {
      tally.tokens[bucket] = (tally.tokens[bucket] ?? 0) + (facts.tokens[row * TOKENS.length + bucket] ?? 0)
    }
    if (facts.costStatus[row] !== UNPRICED) return
    const reason = facts.costReason.at(row)
    tally.unpriced.set(reason, (tally.unpriced.get(reason) ?? 0) + 1)
  }

  #publish({ usd, tokens, unpriced, ...names }: Tally): void {
    const provider = this.#name(names.provider)
    const model = this.#name(names.model)
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

/** Those looked at by comparing; the strings of repeated names are the same ones, so that this costs next to nothing. */
const FEW = 8

/** One tally for each provider and model of a batch. */
class Tallies {
  readonly all: Tally[] = []
  readonly #more = new Map<string, Map<string, Tally>>()

  of(provider: string, model: string): Tally {
    const few = Math.min(this.all.length, FEW)
    for (let at = 0; at < few; at++) {
      const tally = this.all[at]
      if (tally?.model === model && tally.provider === provider) return tally
    }
    const models = this.#more.get(provider) ?? new Map<string, Tally>()
    const known = models.get(model)
    if (known !== undefined) return known
    const tally = { provider, model, usd: 0, tokens: new Float64Array(TOKENS.length), unpriced: new Map() }
    this.all.push(tally)
    if (this.all.length > FEW) this.#more.set(provider, models.set(model, tally))
    return tally
  }
}
