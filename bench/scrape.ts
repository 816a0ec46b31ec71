/** Reads values from a Prometheus text page; enough for our own metrics. */
export class Page {
  readonly #text: string

  constructor(text: string) {
    this.#text = text
  }

  static async of(url: string): Promise<Page> {
    const response = await fetch(url)
    return new Page(await response.text())
  }

  /** Sum over all series of a name whose labels contain `label` (`exporter="clickhouse"`). */
  sum(name: string, label = ''): number {
    let total = 0
    for (const line of this.#text.split('\n')) {
      if (!line.startsWith(name)) continue
      const next = line.charAt(name.length)
      if ((next === ' ' || next === '{') && line.includes(label))
        total += Number(line.slice(line.lastIndexOf(' ') + 1))
    }
    return total
  }

  /** A quantile of a histogram by linear interpolation, as `histogram_quantile` gives it; `before` is subtracted. */
  quantile(name: string, fraction: number, before?: Page): number {
    const now = this.#buckets(name)
    const old = before === undefined ? new Map<number, number>() : before.#buckets(name)
    const counts = [...now].map(([bound, count]) => [bound, count - (old.get(bound) ?? 0)] as const)
    counts.sort((a, b) => a[0] - b[0])
    const wanted = (counts.at(-1)?.[1] ?? 0) * fraction
    let lower = 0
    let below = 0
    for (const [bound, count] of counts) {
      if (count >= wanted && count > below) {
        return bound === Infinity ? lower : lower + ((bound - lower) * (wanted - below)) / (count - below)
      }
      lower = bound
      below = count
    }
    return Number.NaN
  }

  #buckets(name: string): Map<number, number> {
    const buckets = new Map<number, number>()
    for (const line of this.#text.split('\n')) {
      if (!line.startsWith(`${name}_bucket{`)) continue
      const bound = /le="([^"]+)"/.exec(line)?.[1] ?? ''
      const value = Number(line.slice(line.lastIndexOf(' ') + 1))
      const key = bound === '+Inf' ? Infinity : Number(bound)
      buckets.set(key, (buckets.get(key) ?? 0) + value)
    }
    return buckets
  }
}
