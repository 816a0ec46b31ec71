/** How much of a WAL waits for its exporters. Delivered data that is merely kept does not count. */
export interface WalLoad {
  /** Bytes that the exporter furthest behind has not taken; exporters that may be skipped when it is full do not count. */
  readonly undeliveredBytes: number
  readonly maxBytes: number
  /** Age of the oldest message that such an exporter has not taken. */
  readonly undeliveredMs: number
}

const SLICE_MS = 10_000
const SLICES = 6
/** Senders past this many are not told apart. */
const MAX_TENANTS = 1000

/**
 * What stands between intake and the stores, as far as this process knows: WAL connectors report, whoever decides about
 * new requests reads. Reports are a few seconds old at most.
 */
export class Pressure {
  readonly #wals = new Map<string, WalLoad>()
  readonly #letters = new Map<string, Recent>()

  reportWal(connector: string, load: WalLoad): void {
    this.#wals.set(connector, load)
  }

  /** The connector is gone: nothing of it counts any more. */
  forgetWal(connector: string): void {
    this.#wals.delete(connector)
  }

  wals(): ReadonlyMap<string, WalLoad> {
    return this.#wals
  }

  /** `spans` of `tenant` have just become dead letters, in any daemon. */
  reportDeadLetters(tenant: string, spans: number, nowMs: number): void {
    let recent = this.#letters.get(tenant)
    if (recent === undefined) {
      if (this.#letters.size >= MAX_TENANTS) this.#forgetQuiet(nowMs)
      if (this.#letters.size >= MAX_TENANTS) return
      this.#letters.set(tenant, (recent = new Recent()))
    }
    recent.add(spans, nowMs)
  }

  /** Spans of `tenant` that became dead letters within the last minute. */
  deadLettersPerMinute(tenant: string, nowMs: number): number {
    return this.#letters.get(tenant)?.sum(nowMs) ?? 0
  }

  #forgetQuiet(nowMs: number): void {
    for (const [tenant, recent] of this.#letters) if (recent.sum(nowMs) === 0) this.#letters.delete(tenant)
  }
}

/** A sum over the last minute, in slices of ten seconds. */
class Recent {
  readonly #sums = new Float64Array(SLICES)
  readonly #slices = new Float64Array(SLICES).fill(-1)

  add(value: number, nowMs: number): void {
    const slice = Math.floor(nowMs / SLICE_MS)
    const at = slice % SLICES
    if (this.#slices[at] !== slice) this.#sums[at] = 0
    this.#slices[at] = slice
    this.#sums[at]! += value
  }

  sum(nowMs: number): number {
    const newest = Math.floor(nowMs / SLICE_MS)
    let sum = 0
    for (let at = 0; at < SLICES; at++) if (this.#slices[at]! > newest - SLICES) sum += this.#sums[at]!
    return sum
  }
}
