import { TOKENS } from '../../pipeline/batch/facts.ts'
import { scaled, usdText } from '../../pipeline/genai/decimal.ts'
import type { PriceModel, PricePeriod, Rates } from './table.ts'

/** USD per 1,000,000 tokens in units of 1e-12 = USD per token in units of 1e-18. */
const RATE_DIGITS = 12
/** Units of 1e-18 in one of 1e-12. */
export const FINE = 1_000_000n

/** What one token of each bucket costs, in the order of TOKENS. */
export interface RateCard {
  /** Units of 1e-12 USD, when all rates are whole ones; a bucket without a price is NaN. */
  readonly whole: Float64Array | undefined
  /** Units of 1e-18 USD. */
  readonly fine: readonly (bigint | undefined)[]
}

/** What, besides model and date, decides the price of one call. */
export interface Terms {
  /** All input tokens, cached and written ones included. */
  readonly input: number
  readonly service: Service
  readonly geo: string
  readonly fast: boolean
}

type RateName = keyof Rates
const SERVICES = ['batch', 'flex', 'priority'] as const

type ServiceName = (typeof SERVICES)[number]

/** Index into SERVICES. */
export type Service = number & { readonly __service: unique symbol }
export const NO_SERVICE = -1 as Service

/** The service of a tier (`SpanFacts.serviceTier`) that has its own prices. */
export function serviceOf(tier: string): Service {
  return (SERVICES as readonly string[]).indexOf(tier) as Service
}

/** A bucket's rate and what stands in for it when the table has none: nothing that was read or written is free. */
const FALLBACKS: Readonly<Record<(typeof TOKENS)[number], readonly RateName[]>> = {
  InputTokens: ['input'],
  CacheReadTokens: ['cacheRead', 'input'],
  CacheWriteTokens: ['cacheWrite', 'input'],
  CacheWrite1hTokens: ['cacheWrite1h', 'cacheWrite', 'input'],
  AudioInputTokens: ['audioInput', 'input'],
  ImageInputTokens: ['imageInput', 'input'],
  // Image models bill whatever they write as image tokens.
  OutputTokens: ['output', 'imageOutput'],
  ReasoningTokens: ['reasoning', 'output'],
  AudioOutputTokens: ['audioOutput', 'output'],
  ImageOutputTokens: ['imageOutput', 'output'],
}

/** One model of the table with its prices over time. Cards are made once per combination met. */
export class PricedModel {
  readonly provider: string
  readonly id: string
  readonly #model: PriceModel
  readonly #periods: readonly CompiledPeriod[]

  constructor(model: PriceModel) {
    this.provider = model.provider
    this.id = model.id
    this.#model = model
    this.#periods = model.periods.map(compilePeriod)
  }

  /** The rates at a time (Unix ms); undefined when the table has no price for that date. */
  card(atMs: number, terms: Terms): RateCard | undefined {
    const period = this.#periodAt(atMs)
    if (period === undefined) return undefined
    const tier = tierOf(period.tiers, terms.input, this.provider === 'x_ai')
    const { service } = terms
    const geo = terms.geo === '' ? undefined : this.#model.geo?.[terms.geo]
    const fast = terms.fast ? this.#model.fast : undefined
    const slot = (tier + 1) * (SERVICES.length + 1) + service + 1
    if (geo === undefined && fast === undefined) {
      return (period.cards[slot] ??= makeCard(period.price, tier, service, []))
    }
    const key = `${slot}/${geo}/${fast}`
    const known = period.multiplied.get(key) ?? makeCard(period.price, tier, service, [geo, fast])
    period.multiplied.set(key, known)
    return known
  }

  /** The last one that holds. */
  #periodAt(atMs: number): CompiledPeriod | undefined {
    for (let index = this.#periods.length - 1; index >= 0; index--) {
      const period = this.#periods[index]
      if (period !== undefined && holds(period, atMs)) return period
    }
    return undefined
  }
}

interface CompiledPeriod {
  readonly fromMs: number
  readonly toMs: number
  /** Minutes of the UTC day, or undefined for all day. */
  readonly hours: readonly [number, number] | undefined
  readonly tiers: readonly { readonly over: number }[]
  readonly price: PricePeriod
  /** By tier and service. */
  readonly cards: (RateCard | undefined)[]
  /** With a factor for geography or fast mode. */
  readonly multiplied: Map<string, RateCard>
}

function compilePeriod(price: PricePeriod): CompiledPeriod {
  return {
    fromMs: price.from === undefined ? -Infinity : Date.parse(price.from),
    toMs: price.to === undefined ? Infinity : Date.parse(price.to),
    hours: price.hours === undefined ? undefined : [minutes(price.hours[0]), minutes(price.hours[1])],
    tiers: price.tiers ?? [],
    price,
    cards: [],
    multiplied: new Map(),
  }
}

function minutes(clock: string): number {
  const [hour = '', minute = ''] = clock.split(':')
  return Number(hour) * 60 + Number(minute)
}

const DAY_MS = 86_400_000

function holds(period: CompiledPeriod, atMs: number): boolean {
  if (atMs < period.fromMs || atMs >= period.toMs) return false
  if (period.hours === undefined) return true
  const minute = Math.floor((((atMs % DAY_MS) + DAY_MS) % DAY_MS) / 60_000)
  const [from, to] = period.hours
  return from <= to ? minute >= from && minute < to : minute >= from || minute < to
}

/** Strictly over; xAI's tiers begin at the threshold. −1: the base. */
function tierOf(tiers: readonly { readonly over: number }[], input: number, inclusive: boolean): number {
  for (let index = tiers.length - 1; index >= 0; index--) {
    const over = tiers[index]?.over ?? Infinity
    if (input > over || (inclusive && input === over)) return index
  }
  return -1
}

/** An upper tier that names no price for an hour's writes keeps their proportion to those for 5 minutes. */
function ratesOf(price: PricePeriod, tier: Rates | undefined): Rates {
  const rates: Rates = { ...price, ...tier }
  const base = units(price.cacheWrite)
  if (tier?.cacheWrite === undefined || tier.cacheWrite1h !== undefined || base === 0n) return rates
  const hour = (units(price.cacheWrite1h) * units(tier.cacheWrite)) / base
  return hour === 0n ? rates : { ...rates, cacheWrite1h: usdText(hour) }
}

function makeCard(
  price: PricePeriod,
  tier: number,
  serviceIndex: Service,
  factors: readonly (string | undefined)[],
): RateCard {
  const rates = ratesOf(price, price.tiers?.[tier])
  const service: ServiceName | undefined = SERVICES[serviceIndex]
  const pair = service === undefined ? undefined : price[service]
  const fine = TOKENS.map((bucket) => {
    const name = FALLBACKS[bucket].find((candidate) => rates[candidate] !== undefined)
    if (name === undefined) return undefined
    let rate = units(rates[name])
    if (service !== undefined) rate = served(rate, name, service, price, tier < 0 ? pair : undefined)
    for (const factor of factors) if (factor !== undefined) rate = (rate * units(factor)) / units('1')
    return rate
  })
  return { whole: wholeRates(fine), fine }
}

/**
 * Batch, flex and priority: their own input and output price where the table has one; everything else (cached tokens,
 * upper tiers) in the proportion that the service has to the standard input price. Batch without a price is half.
 */
function served(
  rate: bigint,
  name: RateName,
  service: ServiceName,
  price: PricePeriod,
  pair: { input: string; output?: string | undefined } | undefined,
): bigint {
  if (name === 'input' && pair !== undefined) return units(pair.input)
  if (name === 'output' && pair?.output !== undefined) return units(pair.output)
  const known = price[service]
  const standard = units(price.input)
  if (known !== undefined && standard > 0n) return (rate * units(known.input)) / standard
  return service === 'batch' ? rate / 2n : rate
}

function units(text: string | undefined): bigint {
  return scaled(text ?? '', RATE_DIGITS) ?? 0n
}

/** Rates that are whole in 1e-12 USD per token are summed as numbers. */
function wholeRates(fine: readonly (bigint | undefined)[]): Float64Array | undefined {
  if (fine.some((rate) => rate !== undefined && rate % FINE !== 0n)) return undefined
  return Float64Array.from(fine, (rate) => (rate === undefined ? Number.NaN : Number(rate / FINE)))
}
