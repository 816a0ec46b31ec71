import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { halves } from '../../pipeline/batch/halves.ts'
import { AT } from '../../pipeline/genai/usage.ts'
import type { PriceBook } from './book.ts'
import { calculate } from './calculate.ts'
import type { Overrides } from './overrides.ts'
import { Quotes } from './quotes.ts'
import { NO_SERVICE, type Service, type Terms } from './rates.ts'

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

  /** For the rows of these facts. */
  of(facts: SpanFacts): BatchPricer {
    return new BatchPricer(facts, new Quotes(this.#book, this.#overrides, facts))
  }
}

export class BatchPricer {
  readonly #facts: SpanFacts
  readonly #costs: Uint32Array
  readonly #quotes: Quotes
  /** Of the call in hand. */
  readonly #terms = { input: 0, service: NO_SERVICE, geo: '', fast: false }

  constructor(facts: SpanFacts, quotes: Quotes) {
    this.#facts = facts
    this.#costs = halves(facts.cost)
    this.#quotes = quotes
  }

  /** Prices a row, a call of `tenant` that started at `atMs`; the columns say how it went. */
  price(row: number, tenant: string, atMs: number): void {
    const facts = this.#facts
    if (facts.leaf[row] !== 1) return this.#clear(row)
    const reason = this.#compute(row, tenant, atMs)
    if (reason === undefined) {
      facts.costReason.clear(row)
      facts.costStatus[row] = COMPUTED
      return
    }
    this.#clear(row)
    facts.costReason.set(row, reason)
    const provided = facts.costProvided[row] ?? -1n
    facts.costStatus[row] = provided >= 0n ? PROVIDED : UNPRICED
    // The sender's own cost stands in: sums over spans stay complete, the status says which it is.
    if (provided >= 0n) facts.cost[row * COSTS.length] = provided
  }

  #clear(row: number): void {
    const facts = this.#facts
    this.#costs.fill(0, row * COSTS.length * 2, (row + 1) * COSTS.length * 2)
    facts.priceModel.clear(row)
    facts.priceVersion.clear(row)
    facts.costReason.clear(row)
    facts.costStatus[row] = NONE
  }

  #compute(row: number, tenant: string, atMs: number): Reason | undefined {
    const facts = this.#facts
    const at = row * TOKENS.length
    if (!hasTokens(facts.tokens, at)) return 'no_tokens'
    if (facts.responseModel.indexes[row] === 0 && facts.requestModel.indexes[row] === 0) return 'no_model'
    const { candidates, service } = this.#quotes.of(row, tenant)
    const terms = this.#termsOf(row, service)
    for (let i = 0; i < candidates.length; i++) {
      const { model, priceModel, priceVersion } = candidates[i]!
      const card = model.card(atMs, terms)
      if (card === undefined) continue
      const outcome = calculate(card, facts.tokens, at, this.#costs, row * COSTS.length * 2)
      if (outcome !== 'computed') return outcome
      facts.priceModel.indexes[row] = priceModel
      facts.priceVersion.indexes[row] = priceVersion
      return undefined
    }
    return candidates.length === 0 ? 'unknown_model' : 'no_price_for_date'
  }

  /** Valid until the next call. */
  #termsOf(row: number, service: Service): Terms {
    const { tokens, priceHints } = this.#facts
    const terms = this.#terms
    const at = row * TOKENS.length
    let input = 0
    for (let bucket = at; bucket < at + AT.OutputTokens; bucket++) input += tokens[bucket]!
    const hints = priceHints.size === 0 ? undefined : priceHints.get(row)
    terms.input = input
    terms.service = service
    terms.geo = hints?.geo ?? ''
    terms.fast = hints?.fast ?? false
    return terms
  }
}

function hasTokens(tokens: Uint32Array, at: number): boolean {
  for (let bucket = at; bucket < at + TOKENS.length; bucket++) if (tokens[bucket]! > 0) return true
  return false
}
