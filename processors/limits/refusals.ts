import { setMaxListeners } from 'node:events'
import { retry, type Fault, type FaultCode } from '../../pipeline/fault.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { Counter, Meter } from '../../pipeline/telemetry/meter.ts'
import type { LimitsConfig } from './config.ts'
import type { SpanRule } from './spans.ts'

/** Value of the label `limit`: the config key that was reached. */
export type LimitName =
  | 'memory'
  | 'in_flight_bytes'
  | 'wal.max_undelivered_percent'
  | 'wal.max_undelivered_age'
  | 'dead_letters.max_spans_per_minute'
  | 'tenant.in_flight_bytes'
  | 'events_per_minute'
  | 'bytes_per_second'
  | 'request_bytes'
  | 'spans_per_day'
  | 'usd_per_day'

export interface Refusal {
  readonly limit: LimitName
  readonly code: FaultCode
  readonly message: string
  readonly afterMs: number
}

const MAX_TENANTS = 1000
const OTHER = 'other'
/** Refusals that are held back at a time; more are given at once. */
const MAX_WAITING = 1000
const MIN_RETRY_MS = 100
/** A limit of 0: nobody knows when it will be raised. */
const MAX_RETRY_MS = 24 * 3_600_000

/** Counts refusals and gives them, those that are a sender's own doing not at once. */
export class Refusals {
  readonly #requests: Counter
  readonly #spans: Counter
  readonly #config: Pick<LimitsConfig, 'refusal_delay' | 'tenant_labels'>
  readonly #labelled = new Set<string>()
  readonly #ending = new AbortController()
  #waiting = 0

  constructor(config: Pick<LimitsConfig, 'refusal_delay' | 'tenant_labels'>, meter: Meter) {
    this.#config = config
    setMaxListeners(MAX_WAITING, this.#ending.signal)
    this.#requests = meter.counter('weir_rate_limited')
    this.#spans = meter.counter('weir_limit_rejected_spans')
  }

  /** To throw. */
  fault({ limit, code, message, afterMs }: Refusal, tenant: string): Fault {
    this.count(limit, tenant)
    const ms = Math.min(MAX_RETRY_MS, Math.max(MIN_RETRY_MS, Math.ceil(afterMs)))
    return retry(code, message, ms)
  }

  count(limit: LimitName, tenant: string): void {
    this.#requests.add(1, this.#labels(limit, tenant))
  }

  countSpans(rule: SpanRule, tenant: string, spans: number): void {
    this.#spans.add(spans, this.#labels(`span.${rule}`, tenant))
  }

  /** A sender in a hurry is slowed down to the pace of its refusals; nobody else notices. */
  async later(fault: Fault): Promise<never> {
    if (this.#waiting < MAX_WAITING && this.#config.refusal_delay > 0) {
      this.#waiting++
      await sleep(this.#config.refusal_delay, this.#ending.signal)
      this.#waiting--
    }
    throw fault
  }

  stop(): void {
    this.#ending.abort()
  }

  #labels(limit: string, tenant: string): Record<string, string> {
    if (!this.#config.tenant_labels) return { limit }
    if (this.#labelled.size < MAX_TENANTS) this.#labelled.add(tenant)
    return { limit, tenant: this.#labelled.has(tenant) ? tenant : OTHER }
  }
}
