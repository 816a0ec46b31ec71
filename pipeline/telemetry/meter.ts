/**
 * How weir counts. Names are in `names.ts` (the catalogue that docs/metrics.md is generated from); a name that is not
 * there cannot be used. Backed by prom-client; the store process ships its values to the main one.
 */
export type Labels = Readonly<Record<string, string>>

export interface Counter {
  add(value: number, labels?: Labels): void
}

export interface Gauge {
  set(value: number, labels?: Labels): void
  remove(labels: Labels): void
}

export interface Histogram {
  observe(value: number, labels?: Labels): void
}

export interface Meter {
  counter(name: string): Counter
  gauge(name: string): Gauge
  histogram(name: string): Histogram
}
