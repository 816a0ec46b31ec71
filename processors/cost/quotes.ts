import type { SpanFacts } from '../../pipeline/batch/facts.ts'
import type { PriceBook } from './book.ts'
import { OVERRIDE_VERSION, type Overrides } from './overrides.ts'
import { type PricedModel, type Service, serviceOf } from './rates.ts'

/** A model whose price may apply, and how the columns name it. */
interface Candidate {
  readonly model: PricedModel
  /** Indexes into the dictionaries of the facts. */
  readonly priceModel: number
  readonly priceVersion: number
}

/** What the names of a call decide of its price. */
export interface Quote {
  /** Best first: one may have no price for a date. */
  readonly candidates: readonly Candidate[]
  readonly service: Service
}

interface Known extends Quote {
  readonly tenant: string
  readonly provider: number
  readonly response: number
  readonly request: number
  readonly tier: number
}

const SLOTS = 32

/** The quotes for one batch's calls: few combinations of names come again and again, each is looked up once. */
export class Quotes {
  readonly #book: PriceBook
  readonly #overrides: Overrides
  readonly #facts: SpanFacts
  readonly #known = Array<Known | undefined>(SLOTS).fill(undefined)

  constructor(book: PriceBook, overrides: Overrides, facts: SpanFacts) {
    this.#book = book
    this.#overrides = overrides
    this.#facts = facts
  }

  of(row: number, tenant: string): Quote {
    const facts = this.#facts
    const provider = facts.provider.indexes[row]!
    const response = facts.responseModel.indexes[row]!
    const request = facts.requestModel.indexes[row]!
    const tier = facts.serviceTier.indexes[row]!
    const slot = (response * 7 + request * 5 + provider * 3 + tier) & (SLOTS - 1)
    const known = this.#known[slot]
    if (
      known !== undefined &&
      known.response === response &&
      known.request === request &&
      known.provider === provider &&
      known.tier === tier &&
      known.tenant === tenant
    )
      return known
    const candidates = this.#candidates(row, tenant)
    const service = serviceOf(facts.serviceTier.at(row))
    const quote: Known = { tenant, provider, response, request, tier, candidates, service }
    this.#known[slot] = quote
    return quote
  }

  /** Overrides for either model name, then the table; the response model before the request's. */
  #candidates(row: number, tenant: string): Candidate[] {
    const { provider, responseModel, requestModel } = this.#facts
    const [maker, response, request] = [provider.at(row), responseModel.at(row), requestModel.at(row)]
    const overrides = this.#overrides.find(tenant, maker, response, request)
    const answered = this.#book.find(maker, response)
    const asked = response === request ? undefined : this.#book.find(maker, request)
    return [
      ...overrides.map((model) => this.#named(model, maker, OVERRIDE_VERSION)),
      ...[...new Set([answered, asked])]
        .filter((model) => model !== undefined)
        .map((model) => this.#named(model, maker, this.#book.version)),
    ]
  }

  #named(model: PricedModel, provider: string, version: string): Candidate {
    const isOwn = model.provider === provider || model.provider === ''
    return {
      model,
      priceModel: this.#facts.priceModel.indexOf(isOwn ? model.id : `${model.provider}/${model.id}`),
      priceVersion: this.#facts.priceVersion.indexOf(version),
    }
  }
}
