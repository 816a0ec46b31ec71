import type { Counter, Gauge, Meter } from '../../pipeline/telemetry/meter.ts'
import type { Judgement } from './policy.ts'

/** The collector's figures of its tail_sampling processor, by its names; of the daemon that holds the scout's cursor. */
export class ScoutMetrics {
  readonly #labels: { readonly processor: string }
  readonly #names: readonly string[]
  readonly #drops: readonly boolean[]
  readonly #traces: Counter
  readonly #spans: Counter
  readonly #global: Counter
  readonly #new: Counter
  readonly #late: Counter
  readonly #lateViolations: Counter
  readonly #early: Counter
  readonly #pending: Gauge
  readonly #bytes: Gauge

  constructor(meter: Meter, processor: string, policies: readonly { name: string; drops: boolean }[]) {
    this.#labels = { processor }
    this.#names = policies.map(({ name }) => name)
    this.#drops = policies.map(({ drops }) => drops)
    this.#traces = meter.counter('otelcol_processor_tail_sampling_count_traces_sampled')
    this.#spans = meter.counter('otelcol_processor_tail_sampling_count_spans_sampled')
    this.#global = meter.counter('otelcol_processor_tail_sampling_global_count_traces_sampled')
    this.#new = meter.counter('otelcol_processor_tail_sampling_new_trace_id_received')
    this.#late = meter.counter('otelcol_processor_tail_sampling_early_releases_from_cache_decision')
    this.#lateViolations = meter.counter('weir_tail_sampling_late_violations')
    this.#early = meter.counter('otelcol_processor_tail_sampling_sampling_trace_dropped_too_early')
    this.#pending = meter.gauge('otelcol_processor_tail_sampling_sampling_traces_on_memory')
    this.#bytes = meter.gauge('weir_tail_sampling_pending_bytes')
  }

  began(): void {
    this.#new.add(1, this.#labels)
  }

  pending(traces: number, bytes: number): void {
    this.#pending.set(traces, this.#labels)
    this.#bytes.set(bytes, this.#labels)
  }

  judged({ kept, dropped, votes }: Judgement, spans: number): void {
    const decision = wordFor(kept, dropped)
    this.#global.add(1, { ...this.#labels, sampled: String(kept), decision })
    for (const [index, vote] of votes.entries()) {
      const drops = this.#drops[index] === true
      const labels = {
        ...this.#labels,
        policy: this.#names[index] ?? '',
        sampled: String(vote && !drops),
        decision: wordFor(vote && !drops, vote && drops),
      }
      this.#traces.add(1, labels)
      this.#spans.add(spans, labels)
    }
  }

  late(kept: boolean, isViolation: boolean): void {
    this.#late.add(1, { ...this.#labels, sampled: String(kept) })
    if (isViolation && !kept) this.#lateViolations.add(1, this.#labels)
  }

  tooEarly(): void {
    this.#early.add(1, this.#labels)
  }
}

function wordFor(kept: boolean, dropped: boolean): string {
  if (dropped) return 'dropped'
  return kept ? 'sampled' : 'not_sampled'
}
