import { setTimeout as delay } from 'node:timers/promises'
import { LatencyHistogram } from './histogram.ts'
import { loadPayloads, type Payload } from './payloads.ts'
import type { LoadPlan, LoadResult } from './plan.ts'
import { toonPayloads, toonTransport } from './toon.ts'
import { grpcTransport, httpTransport, type Transport } from './transport.ts'

/**
 * Offers load and measures answers. Closed loop without a rate; with one, sends are due by the clock and a late
 * answer does not slow the offer down until `inFlight` is reached (what then could not be sent shows as less offered).
 */
export async function generate(plan: LoadPlan): Promise<LoadResult> {
  const run = new Run(plan)
  return run.measure()
}

const TRANSPORTS = { grpc: grpcTransport, http: httpTransport, toon: toonTransport } as const

class Run {
  readonly #plan: LoadPlan
  readonly #payloads: readonly Payload[]
  readonly #transport: Transport
  readonly #latency = new LatencyHistogram()
  #next = 0
  #acked = 0
  #ackedTotal = 0
  #refused = 0
  #failed = 0
  #firstError = ''
  #isMeasuring = false

  constructor(plan: LoadPlan) {
    this.#plan = plan
    // A multiple of the slots: then each slot has payloads of its own, and none changes under way.
    const count = Math.ceil(plan.distinct / plan.inFlight) * plan.inFlight
    this.#payloads = (plan.protocol === 'toon' ? toonPayloads : loadPayloads)(plan.spansPerRequest, count)
    this.#transport = TRANSPORTS[plan.protocol](plan)
  }

  async measure(): Promise<LoadResult> {
    const endMs = performance.now() + this.#plan.warmupMs + this.#plan.durationMs
    const slots = Array.from({ length: this.#plan.inFlight }, (_, slot) => this.#work(slot, endMs))
    await delay(this.#plan.warmupMs)
    const cpu = process.cpuUsage()
    const fromMs = performance.now()
    this.#isMeasuring = true
    await delay(this.#plan.durationMs)
    this.#isMeasuring = false
    const seconds = (performance.now() - fromMs) / 1000
    const used = process.cpuUsage(cpu)
    await Promise.all(slots)
    this.#transport.close()
    return this.#result(seconds, (used.user + used.system) / 1e6)
  }

  /** One slot sends, waits for its answer, sends again; slots share the payloads, one each at a time. */
  async #work(slot: number, endMs: number): Promise<void> {
    const { inFlight, spansPerRequest, spansPerSecond } = this.#plan
    const intervalMs = spansPerSecond === undefined ? 0 : (spansPerRequest / spansPerSecond) * 1000 * inFlight
    let dueMs = performance.now() + (intervalMs * slot) / inFlight
    for (let turn = 0; performance.now() < endMs; turn++) {
      const waitMs = dueMs - performance.now()
      if (intervalMs > 0 && waitMs > 0.5) await delay(waitMs)
      // Late by more than a turn: what was not offered in time is not offered at once now.
      dueMs = Math.max(dueMs + intervalMs, performance.now() - intervalMs)
      const payload = this.#payloads[(slot + turn * inFlight) % this.#payloads.length]
      if (payload !== undefined) await this.#once(slot, payload)
    }
  }

  async #once(slot: number, payload: Payload): Promise<void> {
    const body = payload.distinct(this.#next++)
    const sentMs = performance.now()
    const answer = await this.#transport.send(slot, body)
    if (answer.kind === 'ok') {
      this.#ackedTotal += this.#plan.spansPerRequest
      if (!this.#isMeasuring) return
      this.#acked += this.#plan.spansPerRequest
      this.#latency.record((performance.now() - sentMs) * 1000)
      return
    }
    this.#firstError ||= answer.detail
    if (answer.kind === 'refused') this.#refused++
    else this.#failed++
    await delay(20)
  }

  #result(seconds: number, cpuSeconds: number): LoadResult {
    return {
      ackedSpans: this.#acked,
      seconds,
      ackedSpansPerSecond: this.#acked / seconds,
      refusedRequests: this.#refused,
      failedRequests: this.#failed,
      ackP50Ms: this.#latency.quantileMs(0.5),
      ackP99Ms: this.#latency.quantileMs(0.99),
      clientCpuSecondsPerMillion: (cpuSeconds / Math.max(1, this.#acked)) * 1e6,
      ackedSpansTotal: this.#ackedTotal,
      firstError: this.#firstError,
    }
  }
}
