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
    const tallies = new Tallies(facts)
    for (let row = 0; row < facts.rows; row++) {
      if (facts.costStatus[row] !== NONE && isLive(row)) count(facts, costs, row, tallies.of(row))
    }
    for (const tally of tallies.all) this.#publish(tally)
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

function count(facts: SpanFacts, costs: Uint32Array, row: number, tally: Tally): void {
  const cost = row * COSTS.length * 2
  tally.usd += (costs[cost + 1]! * 2 ** 32 + costs[cost]!) / USD
  const from = row * TOKENS.length
  for (let bucket = 0; bucket < TOKENS.length; bucket++) {
    const tokens = facts.tokens[from + bucket]!
    if (tokens !== 0) tally.tokens[bucket]! += tokens
  }
  if (facts.costStatus[row] !== UNPRICED) return
  const reason = facts.costReason.at(row)
  tally.unpriced.set(reason, (tally.unpriced.get(reason) ?? 0) + 1)
}

/** A tally for each provider and model of a batch, found by their places in its dictionaries. */
class Tallies {
  readonly all: Tally[] = []
  readonly #facts: SpanFacts
  readonly #known = new Map<number, Tally>()
  #last: Tally | undefined
  #lastKey = -1

  constructor(facts: SpanFacts) {
    this.#facts = facts
  }

  of(row: number): Tally {
    const { provider, priceModel, responseModel } = this.#facts
    const priced = priceModel.indexes[row]!
    // What no price was found for goes by its own name.
    const model = priced === 0 ? responseModel.indexes[row]! * 2 : priced * 2 + 1
    const key = model * provider.texts.length + provider.indexes[row]!
    if (key === this.#lastKey) return this.#last!
    let tally = this.#known.get(key)
    if (tally === undefined) {
      const name = (priced === 0 ? responseModel : priceModel).at(row)
      tally = {
        provider: provider.at(row),
        model: name,
        usd: 0,
        tokens: new Float64Array(TOKENS.length),
        unpriced: new Map(),
      }
      this.all.push(tally)
      this.#known.set(key, tally)
    }
    this.#lastKey = key
    return (this.#last = tally)
  }
}
