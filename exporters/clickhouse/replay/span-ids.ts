import type { Batch } from '../../../pipeline/batch/batch.ts'
import { EventIds } from '../../../pipeline/batch/event-id.ts'
import { WordColumn } from '../../../proto/clickhouse/columns.ts'

const DAY_MS = 86_400_000
/** 2262-04-11: the end of 63 bits of nanoseconds. */
const MAX_MS = 9_223_372_036_000
/** So few traces are found by their index. */
const FEW_TRACES = 64
/** Spans of more days than this are looked for in all the time between. */
const MANY_DAYS = 100

/** What the live spans of some batches are known by, and where in a table they can be. */
export class SpanIds {
  /** `EventId`s, 16 bytes as latin-1. */
  readonly #ids = new Set<string>()
  readonly #traces = new Set<string>()
  /** Day → first and last start in it, Unix ms. */
  readonly #days = new Map<number, [first: number, last: number]>()
  /** A start is past what the column of time can hold. */
  #isPast = false

  constructor(batches: readonly Batch[]) {
    for (const batch of batches) this.#add(batch)
  }

  /** Different spans. */
  get size(): number {
    return this.#ids.size
  }

  /** ` AND …` for the rows of a table that these spans can be. */
  get place(): string {
    const few = this.#traces.size <= FEW_TRACES
    const traces = Array.from(this.#traces, (hex) => `'${hex}'`).join(', ')
    return `${few ? ` AND TraceId IN (${traces})` : ''}${this.#time}`
  }

  get #time(): string {
    if (this.#isPast) return ''
    const days = [...this.#days.values()]
    const ranges = days.length > MANY_DAYS ? [around(days)] : days
    const tests = ranges.map(
      ([first, last]) =>
        `Timestamp BETWEEN fromUnixTimestamp64Milli(${Math.floor(first) - 1}) AND fromUnixTimestamp64Milli(${Math.ceil(last) + 1})`,
    )
    return ` AND (${tests.join(' OR ')})`
  }

  column(name: string): WordColumn {
    const column = new WordColumn(name, 'FixedString(16)', 16)
    const bytes = Buffer.alloc(16)
    for (const id of this.#ids) {
      bytes.write(id, 'latin1')
      column.addBytes(bytes, 0)
    }
    return column
  }

  #add(batch: Batch): void {
    forEachId(batch, (row, id) => {
      this.#ids.add(id)
      if (this.#traces.size <= FEW_TRACES) this.#traces.add(Buffer.from(batch.traceId(row)).toString('hex'))
      const ms = batch.startMs(row)
      if (ms >= MAX_MS) this.#isPast = true
      const day = Math.floor(ms / DAY_MS)
      const range = this.#days.get(day)
      if (range === undefined) this.#days.set(day, [ms, ms])
      else if (ms < range[0]) range[0] = ms
      else if (ms > range[1]) range[1] = ms
    })
  }
}

/** Copies in which each span is live once, and none that `known` has; those of which nothing is left are left out. */
export function without(batches: readonly Batch[], known: ReadonlySet<string>): Batch[] {
  const seen = new Set<string>()
  const left: Batch[] = []
  for (const batch of batches) {
    let copy: Batch | undefined
    forEachId(batch, (row, id) => {
      if (known.has(id) || seen.has(id)) {
        copy ??= batch.fork()
        copy.drop(row, 'duplicate')
      } else seen.add(id)
    })
    const rest = copy ?? batch
    if (rest.live > 0) left.push(rest)
  }
  return left
}

function forEachId(batch: Batch, visit: (row: number, id: string) => void): void {
  const ids = new EventIds(batch.meta.tenant)
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row)) continue
    const id = ids.ofSpan(batch.traceId(row), batch.spanId(row), batch.startNs(row))
    visit(row, id.toString('latin1'))
  }
}

function around(ranges: readonly (readonly [number, number])[]): readonly [number, number] {
  return [
    ranges.reduce((least, [first]) => Math.min(least, first), Infinity),
    ranges.reduce((most, [, last]) => Math.max(most, last), 0),
  ]
}
