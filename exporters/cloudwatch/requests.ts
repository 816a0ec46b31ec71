import type { Batch } from '../../pipeline/batch/batch.ts'
import type { DeliveryOutcome } from '../../pipeline/component.ts'
import { eventsOf } from './event.ts'
import type { Config } from './config.ts'
import type { Names, Place } from './names.ts'

export type Rejected = DeliveryOutcome['rejected'][number]

/** Limits of PutLogEvents, as its API reference has them. Its 10,000 events are never reached: each of ours has over 105 bytes. */
const MAX_BYTES = 1_048_576
/** Counted for each event besides its message. */
const EVENT_BYTES = 26
const MAX_SPAN_MS = 86_400_000

export interface Entry {
  readonly batch: number
  readonly row: number
  readonly timestamp: number
  readonly message: string
  /** As AWS counts and bills them. */
  readonly bytes: number
}

/** One PutLogEvents: in order of time, within its limits. */
export interface PutRequest {
  readonly place: Place
  readonly entries: readonly Entry[]
}

export interface Plan {
  readonly requests: readonly PutRequest[]
  /** Spans larger than an event may be. */
  readonly rejected: readonly Rejected[]
}

/** The requests that batches become. The same batches make the same plan. */
export function planOf(batches: readonly Batch[], names: Names, emf: Config['emf']): Plan {
  const byPlace = new Map<string, { readonly place: Place; readonly entries: Entry[] }>()
  const rejected: Rejected[] = []
  for (const [index, batch] of batches.entries()) {
    for (const { row, timestamp, message, names: fields } of eventsOf(batch, emf)) {
      const bytes = Buffer.byteLength(message) + EVENT_BYTES
      if (bytes > MAX_BYTES) {
        rejected.push(rejection({ batch: index, row }, tooLarge(bytes)))
        continue
      }
      const place = names.of(fields)
      const key = `${place.group}:${place.stream}`
      const known = byPlace.get(key) ?? { place, entries: [] }
      byPlace.set(key, known)
      known.entries.push({ batch: index, row, timestamp, message, bytes })
    }
  }
  const requests = Array.from(byPlace.values()).flatMap(({ place, entries }) =>
    cut(entries).map((part) => ({ place, entries: part })),
  )
  return { requests, rejected }
}

export function rejection({ batch, row }: Pick<Entry, 'batch' | 'row'>, reason: string): Rejected {
  return { batch, rejection: { rows: [row], reason } }
}

function cut(entries: readonly Entry[]): Entry[][] {
  const parts: Entry[][] = []
  let open: Entry[] = []
  let bytes = 0
  for (const entry of entries.toSorted((a, b) => a.timestamp - b.timestamp)) {
    const isFull =
      bytes + entry.bytes > MAX_BYTES ||
      entry.timestamp - (open[0]?.timestamp ?? entry.timestamp) > MAX_SPAN_MS
    if (isFull) {
      parts.push(open)
      open = []
      bytes = 0
    }
    open.push(entry)
    bytes += entry.bytes
  }
  return open.length === 0 ? parts : [...parts, open]
}

function tooLarge(bytes: number): string {
  return `a log event of ${bytes} bytes is over CloudWatch's limit of ${MAX_BYTES}: let a processor move or drop large payloads before`
}
