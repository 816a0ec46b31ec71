import * as prom from 'prom-client'
import type { Counter, Gauge, Histogram, Labels, Meter } from './meter.ts'
import { metricInfo, type MetricInfo } from './names.ts'

/** All values of one process; plain data that crosses the IPC channel. */
export type MetricSnapshot = readonly prom.MetricObjectWithValues<prom.MetricValue<string>>[]

export interface PromMeter extends Meter {
  /** Prometheus text format 0.0.4 of this process alone. */
  render(): Promise<string>
  snapshot(): Promise<MetricSnapshot>
  /** Called before every render and snapshot: sets gauges that are read, not counted. */
  onCollect(sample: () => void): void
}

export const PROMETHEUS_CONTENT_TYPE = prom.Registry.PROMETHEUS_CONTENT_TYPE

/** A meter with its own registry, so that two of them never share a value. */
export function createMeter(): PromMeter {
  const registry = new prom.Registry()
  const samplers: (() => void)[] = []
  const sums = new Map<string, SummedCounter>()
  const counter = (name: string) => {
    let sum = sums.get(name)
    if (sum === undefined) sums.set(name, (sum = new SummedCounter(counterOf(registry, name))))
    return sum
  }
  const snapshot = () => {
    for (const sample of samplers) sample()
    for (const sum of sums.values()) sum.flush()
    return registry.getMetricsAsJSON()
  }
  return {
    counter,
    gauge: (name) => gaugeOf(registry, name),
    histogram: (name) => histogramOf(registry, name),
    snapshot,
    render: async () => mergeSnapshots([await snapshot()]),
    onCollect: (sample) => void samplers.push(sample),
  }
}

/**
 * One Prometheus page for several processes: series with equal labels are summed (counters, histograms) or the
 * larger one is shown (gauges: both processes then look at the same thing); different labels stand side by side.
 */
export function mergeSnapshots(snapshots: readonly MetricSnapshot[]): Promise<string> {
  // The typings ask for Metric[]; the documented argument is an array of getMetricsAsJSON() results.
  const parts = snapshots.map((snapshot) => [...snapshot]) as unknown as prom.Metric[]
  return prom.AggregatorRegistry.aggregate(parts).metrics()
}

function counterOf(registry: prom.Registry, name: string): prom.Counter {
  return new prom.Counter(options(registry, name, infoOf(name, 'counter')))
}

/** Adds up what is counted in turn under the same labels: prom-client checks and hashes them each time, per request. */
class SummedCounter implements Counter {
  readonly #metric: prom.Counter
  #labels: Labels | undefined
  #sum = 0

  constructor(metric: prom.Counter) {
    this.#metric = metric
  }

  /** The very same object stands for the same labels. */
  add(value: number, labels: Labels = NO_LABELS): void {
    if (labels !== this.#labels) {
      this.flush()
      // prom-client reads `inc(labels, 0)` as 0 but creates the series, which is what a first sighting wants.
      this.#metric.inc(labels, value)
      this.#labels = labels
    } else if (value >= 0 && value < Infinity) this.#sum += value
    else this.#metric.inc(labels, value)
  }

  flush(): void {
    if (this.#labels !== undefined && this.#sum > 0) this.#metric.inc(this.#labels, this.#sum)
    this.#sum = 0
  }
}

const NO_LABELS: Labels = {}

function gaugeOf(registry: prom.Registry, name: string): Gauge {
  const info = infoOf(name, 'gauge')
  const metric =
    (registry.getSingleMetric(name) as prom.Gauge | undefined) ??
    new prom.Gauge({ ...options(registry, name, info), aggregator: 'max' })
  return {
    set: (value: number, labels: Labels = {}) => {
      metric.set(labels, value)
    },
    remove: (labels: Labels) => {
      metric.remove(labels)
    },
  }
}

function histogramOf(registry: prom.Registry, name: string): Histogram {
  const info = infoOf(name, 'histogram')
  const buckets = [...(info.buckets ?? [])]
  const metric =
    (registry.getSingleMetric(name) as prom.Histogram | undefined) ??
    new prom.Histogram({ ...options(registry, name, info), buckets })
  return {
    observe: (value: number, labels: Labels = {}) => {
      metric.observe(labels, value)
    },
  }
}

function options(registry: prom.Registry, name: string, info: MetricInfo) {
  return { name, help: info.help, labelNames: [...info.labels], registers: [registry] }
}

function infoOf(name: string, type: MetricInfo['type']): MetricInfo {
  const info = metricInfo(name)
  if (info === undefined) throw new Error(`metric ${name} is not in pipeline/telemetry/names.ts`)
  if (info.type !== type) throw new Error(`metric ${name} is a ${info.type}, not a ${type}`)
  return info
}
