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
  const snapshot = () => {
    for (const sample of samplers) sample()
    return registry.getMetricsAsJSON()
  }
  return {
    counter: (name) => counterOf(registry, name),
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

function counterOf(registry: prom.Registry, name: string): Counter {
  const info = infoOf(name, 'counter')
  const metric =
    (registry.getSingleMetric(name) as prom.Counter | undefined) ??
    new prom.Counter(options(registry, name, info))
  return {
    add: (value: number, labels: Labels = {}) => {
      // prom-client reads `inc(labels, 0)` as 0 but creates the series, which is what a first sighting wants.
      metric.inc(labels, value)
    },
  }
}

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
