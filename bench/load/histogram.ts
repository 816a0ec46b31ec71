/** Latencies in microseconds, log-linear buckets (64 per power of two: under 1.6 % error), fixed size. */
export class LatencyHistogram {
  readonly #counts = new Float64Array(64 * 32)
  #total = 0

  record(microseconds: number): void {
    this.#counts[bucketOf(microseconds)]! += 1
    this.#total++
  }

  get total(): number {
    return this.#total
  }

  /** Milliseconds below which `fraction` of the values lie; NaN when empty. */
  quantileMs(fraction: number): number {
    if (this.#total === 0) return Number.NaN
    let left = Math.ceil(this.#total * fraction)
    for (let bucket = 0; bucket < this.#counts.length; bucket++) {
      left -= this.#counts[bucket] ?? 0
      if (left <= 0) return valueOf(bucket) / 1000
    }
    return Number.NaN
  }
}

function bucketOf(value: number): number {
  const clamped = Math.max(1, value)
  const power = Math.floor(Math.log2(clamped))
  return Math.min(power * 64 + Math.floor((clamped / 2 ** power - 1) * 64), 64 * 32 - 1)
}

function valueOf(bucket: number): number {
  const power = Math.floor(bucket / 64)
  return 2 ** power * (1 + ((bucket % 64) + 1) / 64)
}
