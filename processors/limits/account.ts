import { TokenBucket } from './bucket.ts'
import type { TenantLimits } from './config.ts'

/** Seconds of `bytes_per_second` that may come at once. */
const BURST_S = 10
/** How fast the estimate of a request's size follows what comes. */
const LEARN = 0.2

/** Of one request, in spans and bytes. */
export interface Amount {
  readonly spans: number
  readonly bytes: number
}

/** What one tenant, or one of its projects, uses of its limits in this daemon. */
export class Account {
  /** A tenant, or `tenant/project`: as its usage is counted. */
  readonly id: string
  readonly limits: TenantLimits
  readonly #spans: TokenBucket | undefined
  readonly #bytes: TokenBucket | undefined
  #mean: Amount = { spans: 1, bytes: 0 }
  #inFlight = 0
  #open = 0
  #reservedSpans = 0

  constructor(id: string, limits: TenantLimits, nowMs: number) {
    const { events_per_minute: perMinute, bytes_per_second: perSecond } = limits
    this.id = id
    this.limits = limits
    if (Number.isFinite(perMinute)) this.#spans = new TokenBucket(perMinute / 60_000, perMinute, nowMs)
    if (Number.isFinite(perSecond))
      this.#bytes = new TokenBucket(perSecond / 1000, perSecond * BURST_S, nowMs)
  }

  /** How long until the rate allows a further request. */
  waitMs(nowMs: number): { readonly limit: 'events_per_minute' | 'bytes_per_second'; readonly ms: number } {
    const spans = this.#spans?.waitMs(nowMs) ?? 0
    const bytes = this.#bytes?.waitMs(nowMs) ?? 0
    return bytes > spans
      ? { limit: 'bytes_per_second', ms: bytes }
      : { limit: 'events_per_minute', ms: spans }
  }

  /** Spans of requests under way, as estimated. */
  get reservedSpans(): number {
    return this.#reservedSpans
  }

  get inFlight(): number {
    return this.#inFlight
  }

  /** Lets a request in; the caller ends it with what it got. */
  open(declaredBytes: number | undefined): Amount {
    const estimate = { spans: this.#mean.spans, bytes: declaredBytes ?? this.#mean.bytes }
    this.#spans?.reserve(estimate.spans)
    this.#bytes?.reserve(estimate.bytes)
    this.#reservedSpans += estimate.spans
    this.#open++
    return estimate
  }

  close(estimate: Amount, heldBytes: number): void {
    this.#spans?.unreserve(estimate.spans)
    this.#bytes?.unreserve(estimate.bytes)
    this.#reservedSpans -= estimate.spans
    this.#inFlight -= heldBytes
    this.#open--
  }

  /** False: over the limit of bytes in flight. A request, which has `held` of them, passes a lower limit when alone. */
  hold(bytes: number, held: number): boolean {
    if (this.#inFlight > held && this.#inFlight + bytes > this.limits.in_flight_bytes) return false
    this.#inFlight += bytes
    return true
  }

  charge({ spans, bytes }: Amount): void {
    this.#spans?.take(spans)
    this.#bytes?.take(bytes)
    this.#mean = {
      spans: this.#mean.spans + LEARN * (spans - this.#mean.spans),
      bytes: this.#mean.bytes + LEARN * (bytes - this.#mean.bytes),
    }
  }

  refund({ spans, bytes }: Amount): void {
    this.#spans?.give(spans)
    this.#bytes?.give(bytes)
  }

  /** Nothing is lost when it is forgotten. */
  isIdle(nowMs: number): boolean {
    return this.#open === 0 && (this.#spans?.isFull(nowMs) ?? true) && (this.#bytes?.isFull(nowMs) ?? true)
  }
}
