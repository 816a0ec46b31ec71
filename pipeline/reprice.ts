import type { SpanFacts } from './batch/facts.ts'

/**
 * New prices over the past. A store gives back what it keeps of its model calls, the processor that priced them prices
 * them again, and the store writes what differs. One code prices; calls that differ in nothing are left alone, so that a
 * repeat changes nothing and a run that was interrupted is finished by the same command.
 */
export interface RepriceRequest {
  /** Calls that started in [fromMs, toMs). */
  readonly fromMs: number
  readonly toMs: number
  readonly tenant?: string
  /** Needed where several exporters can be repriced. */
  readonly exporter?: string
  readonly dryRun: boolean
  /** Stop after about this long; `nextMs` says where to go on. */
  readonly budgetMs: number
}

export interface RepriceResult {
  /** Of the calls that were looked at, by provider and model. */
  readonly models: readonly RepricedModel[]
  /** Where the next request has to go on; undefined: all is done and written. */
  readonly nextMs: number | undefined
}

export interface RepricedModel {
  readonly provider: string
  /** As the model answered. */
  readonly model: string
  readonly calls: number
  /** Calls of which any cost column differs. */
  readonly changed: number
  /** Decimal text. */
  readonly oldUsd: string
  readonly newUsd: string
  readonly oldUnpriced: number
  readonly newUnpriced: number
}

/** Stored calls, as facts with one row each. Cost columns hold the old answer until they are priced. */
export interface StoredCalls {
  readonly facts: SpanFacts
  readonly tenants: readonly string[]
  /** Unix ms. */
  readonly startMs: Float64Array
}

/** A processor's side: fills the cost columns from all the others, by the very code that priced them first; counts nothing. */
export type Reprice = (calls: StoredCalls) => void

/** A store's side. */
export interface Repriceable {
  reprice(request: RepriceRequest, price: Reprice, signal: AbortSignal): Promise<RepriceResult>
}
