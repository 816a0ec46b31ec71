import type { Counter, Gauge, Meter } from '../../pipeline/telemetry/meter.ts'
import type { Judgement } from './policy.ts'

const OUTCOMES = ['sampled', 'not_sampled', 'dropped'] as const

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
  #began = 0
  readonly #all = new Float64Array(OUTCOMES.length)
  /** Policy by outcome. */
  readonly #byPolicy: Float64Array
  readonly #spansByPolicy: Float64Array

  constructor(meter: Meter, processor: string, policies: readonly { name: string; drops: boolean }[]) {
    this.#labels = { processor }
    this.#names = policies.map(({ name }) => name)
    this.#drops = policies.map(({ drops }) => drops)
    this.#byPolicy = new Float64Array(OUTCOMES.length * policies.length)
    this.#spansByPolicy = new Float64Array(OUTCOMES.length * policies.length)
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
    this.#began++
  }

  judged({ kept, dropped, votes }: Judgement, spans: number): void {
    this.#all[outcomeOf(kept, dropped)]! += 1
    for (let index = 0; index < votes.length; index++) {
      const vote = votes[index]!
      const drops = this.#drops[index]!
      const at = index * OUTCOMES.length + outcomeOf(vote && !drops, vote && drops)
      this.#byPolicy[at]! += 1
      this.#spansByPolicy[at]! += spans
    }
  }

  /** Adds what was counted since the last time: once per batch, not per trace. */
  publish(traces: number, bytes: number): void {
    this.#pending.set(traces, this.#labels)
    this.#bytes.set(bytes, this.#labels)
    if (this.#began > 0) this.#new.add(this.#began, this.#labels)
    this.#began = 0
    for (const [index, decision] of OUTCOMES.entries()) {
      const labels = { ...this.#labels, sampled: String(decision === 'sampled'), decision }
      if (this.#all[index]! > 0) this.#global.add(this.#all[index]!, labels)
      for (const [at, policy] of this.#names.entries()) {
        const place = at * OUTCOMES.length + index
        if (this.#byPolicy[place] === 0) continue
        this.#traces.add(this.#byPolicy[place]!, { ...labels, policy })
        this.#spans.add(this.#spansByPolicy[place]!, { ...labels, policy })
      }
    }
    for (const tally of [this.#all, this.#byPolicy, this.#spansByPolicy]) tally.fill(0)
  }

  late(kept: boolean, isViolation: boolean): void {
    this.#late.add(1, { ...this.#labels, sampled: String(kept) })
    if (isViolation && !kept) this.#lateViolations.add(1, this.#labels)
  }

  tooEarly(): void {
    this.#early.add(1, this.#labels)
  }
}

/** Index into OUTCOMES. */
function outcomeOf(kept: boolean, dropped: boolean): number {
  if (dropped) return 2
  return kept ? 0 : 1
}
