import type { Batch } from '../../pipeline/batch/batch.ts'
import { formatTime } from './time-format.ts'

/** Live rows of a batch that go into one object; `rows` undefined: all of them. */
export interface Piece {
  readonly batch: Batch
  readonly rows: readonly number[] | undefined
}

/** What becomes one object. */
export interface Part {
  readonly tenant: string
  /** The formatted time. */
  readonly partition: string
  readonly pieces: readonly Piece[]
  readonly rows: number
  /** Unix ns of the first and last start of its spans. */
  readonly firstNs: bigint
  readonly lastNs: bigint
}

/**
 * Objects of one delivery and tenant, at most: senders choose the times of their spans, and must not choose how many
 * requests these cost.
 */
export const MAX_PARTITIONS = 64

/**
 * The objects that one delivery becomes: by tenant, then by the start of the spans. Where a tenant's spans would make
 * more than MAX_PARTITIONS, those of the smallest partitions are filed by the time they were received, as are spans
 * without a start. A pure function of the batches.
 */
export function partsOf(batches: readonly Batch[], format: string): Part[] {
  const keyOf = keysOf(format)
  const byTenant = new Map<string, Batch[]>()
  for (const batch of batches) {
    if (batch.live === 0) continue
    const known = byTenant.get(batch.meta.tenant)
    if (known === undefined) byTenant.set(batch.meta.tenant, [batch])
    else known.push(batch)
  }
  return [...byTenant]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .flatMap(([tenant, mine]) => partsOfTenant(tenant, mine, keyOf))
}

type KeyOf = (ms: number) => string

function partsOfTenant(tenant: string, batches: readonly Batch[], keyOf: KeyOf): Part[] {
  const kept = largest(batches, keyOf)
  const parts = new Map<string, Building>()
  for (const batch of batches) {
    const received = keyOf(batch.meta.receivedAtMs)
    for (const [key, rows] of rowsByKey(batch, keyOf)) {
      const partition = key !== '' && kept?.has(key) !== false ? key : received
      const part = parts.get(partition) ?? new Building()
      parts.set(partition, part)
      part.add(batch, rows)
    }
  }
  return [...parts]
    .toSorted(([a], [b]) => (a < b ? -1 : 1))
    .map(([partition, part]) => part.finish(tenant, partition))
}

/** The partitions that stay; undefined: all. */
function largest(batches: readonly Batch[], keyOf: KeyOf): ReadonlySet<string> | undefined {
  const counts = new Map<string, number>()
  const received = new Set<string>()
  for (const batch of batches) {
    received.add(keyOf(batch.meta.receivedAtMs))
    for (const [key, rows] of rowsByKey(batch, keyOf)) {
      if (key !== '') counts.set(key, (counts.get(key) ?? 0) + rows.length)
    }
  }
  const room = MAX_PARTITIONS - received.size
  if (counts.size <= room) return undefined
  const ranked = [...counts].toSorted(([a, n], [b, m]) => m - n || (a < b ? -1 : 1))
  return new Set(ranked.slice(0, Math.max(room, 0)).map(([key]) => key))
}

/** Live rows by the partition of their start; '' for spans that have none. */
function rowsByKey(batch: Batch, keyOf: KeyOf): Map<string, number[]> {
  const byKey = new Map<string, number[]>()
  let last: number[] | undefined
  let lastKey: string | undefined
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    const ms = batch.startMs(row)
    const key = ms === 0 ? '' : keyOf(ms)
    if (key !== lastKey || last === undefined) {
      lastKey = key
      last = byKey.get(key) ?? []
      byKey.set(key, last)
    }
    last.push(row)
  }
  return byKey
}

const CACHED = 1024

/** Formats are no finer than a second, and spans that stand together mostly share one. */
function keysOf(format: string): KeyOf {
  const known = new Map<number, string>()
  const step = /%s/.test(format) ? 1000 : 60_000
  return (ms) => {
    const slot = Math.floor(ms / step)
    let key = known.get(slot)
    if (key === undefined) {
      key = formatTime(format, slot * step)
      if (known.size >= CACHED) known.clear()
      known.set(slot, key)
    }
    return key
  }
}

class Building {
  readonly #pieces: Piece[] = []
  #rows = 0
  #firstNs: bigint | undefined
  #lastNs = 0n

  add(batch: Batch, rows: readonly number[]): void {
    this.#pieces.push({ batch, rows: rows.length === batch.live ? undefined : rows })
    this.#rows += rows.length
    for (const row of rows) {
      const ns = batch.startNs(row)
      if (this.#firstNs === undefined || ns < this.#firstNs) this.#firstNs = ns
      if (ns > this.#lastNs) this.#lastNs = ns
    }
  }

  finish(tenant: string, partition: string): Part {
    return {
      tenant,
      partition,
      pieces: this.#pieces,
      rows: this.#rows,
      firstNs: this.#firstNs ?? 0n,
      lastNs: this.#lastNs,
    }
  }
}
