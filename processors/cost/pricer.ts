import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { AT } from '../../pipeline/genai/usage.ts'
import type { PriceBook } from './book.ts'
import { calculate } from './calculate.ts'
import { OVERRIDE_VERSION, type Overrides } from './overrides.ts'
import type { PricedModel, RateCard, Terms } from './rates.ts'

/** Why a call has no computed cost. */
export const REASONS = {
  no_tokens: 'the span gives no token counts',
  no_model: 'the span names no model',
  unknown_model: 'neither the response model nor the request model is in the price table',
  no_price_for_date: 'the model has prices, but none for the date of the call',
  no_rate: 'the model has no price for a kind of token that was used',
  out_of_range: 'the cost does not fit the column: the token counts cannot be true',
} as const
export type Reason = keyof typeof REASONS

const NONE = COST_STATUS.indexOf('none')
const COMPUTED = COST_STATUS.indexOf('computed')
const PROVIDED = COST_STATUS.indexOf('provided')
const UNPRICED = COST_STATUS.indexOf('unpriced')

/** Writes the cost columns of spans that carry a model call. Pure: the date is the span's own. */
export class Pricer {
  readonly #book: PriceBook
  readonly #overrides: Overrides

  constructor(book: PriceBook, overrides: Overrides) {
    this.#book = book
    this.#overrides = overrides
  }

  /** Prices row `row`, a call of `tenant` that started at `atMs`; the columns say how it went. `costs`: `halves(facts.cost)`. */
  price(facts: SpanFacts, costs: Uint32Array, row: number, tenant: string, atMs: number): void {
    const to = row * COSTS.length
    for (let word = to * 2; word < (to + COSTS.length) * 2; word++) costs[word] = 0
    facts.priceModel.clear(row)
    facts.priceVersion.clear(row)
    facts.costReason.clear(row)
    facts.costStatus[row] = NONE
    if (facts.leaf[row] !== 1) return
    const reason = this.#compute(facts, costs, row, tenant, atMs)
    if (reason === undefined) {
      facts.costStatus[row] = COMPUTED
      return
    }
    facts.costReason.set(row, reason)
    const provided = facts.costProvided[row] ?? -1n
    facts.costStatus[row] = provided >= 0n ? PROVIDED : UNPRICED
    // The sender's own cost stands in: sums over spans stay complete, the status says which it is.
    if (provided >= 0n) facts.cost[to] = provided
  }

  #compute(
    facts: SpanFacts,
    costs: Uint32Array,
    row: number,
    tenant: string,
    atMs: number,
  ): Reason | undefined {
    if (!hasTokens(facts, row)) return 'no_tokens'
    const response = facts.responseModel.at(row)
    const request = facts.requestModel.at(row)
    if (response === '' && request === '') return 'no_model'
    const terms = termsOf(facts, row)
    const provider = facts.provider.at(row)
    const found = this.#find(tenant, provider, response, request, atMs, terms)
    if (typeof found === 'string') return found
    const at = row * TOKENS.length
    const outcome = calculate(found.card, facts.tokens, at, costs, row * COSTS.length * 2)
    if (outcome !== 'computed') return outcome
    const { model } = found
    const isOwn = model.provider === provider || model.provider === ''
    facts.priceModel.set(row, isOwn ? model.id : `${model.provider}/${model.id}`)
    facts.priceVersion.set(row, found.version)
    return undefined
  }

  /** Overrides for either model name, then the table; the response model before the request's. */
  #find(
    tenant: string,
    provider: string,
    response: string,
    request: string,
    atMs: number,
    terms: Terms,
  ): Found | Reason {
    let dated = false
    for (const model of this.#overrides.find(tenant, provider, response, request)) {
      const card = model.card(atMs, terms)
      if (card !== undefined) return { model, card, version: OVERRIDE_VERSION }
      dated = true
    }
    const answered = this.#book.find(provider, response)
    const asked = response === request ? undefined : this.#book.find(provider, request)
    for (let model = answered ?? asked; model !== undefined; model = model === asked ? undefined : asked) {
      const card = model.card(atMs, terms)
      if (card !== undefined) return { model, card, version: this.#book.version }
      dated = true
    }
    return dated ? 'no_price_for_date' : 'unknown_model'
  }
}

interface Found {
  readonly model: PricedModel
  readonly card: RateCard
  readonly version: string
}

function hasTokens(facts: SpanFacts, row: number): boolean {
  const at = row * TOKENS.length
  for (let bucket = at; bucket < at + TOKENS.length; bucket++)
    if ((facts.tokens[bucket] ?? 0) > 0) return true
  return false
}

function termsOf(facts: SpanFacts, row: number): Terms {
  const at = row * TOKENS.length
  let input = 0
  for (let bucket = at; bucket < at + AT.OutputTokens; bucket++) input += facts.tokens[bucket] ?? 0
  const hints = facts.priceHints.get(row)
  return {
    input,
    serviceTier: facts.serviceTier.at(row),
    geo: hints?.geo ?? '',
    fast: hints?.fast ?? false,
  }
}
