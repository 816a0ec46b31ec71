import { givenSpanId, runIdOf, spanIdOf, type RunId } from '../../pipeline/agent/ids.ts'
import type { SpanFields } from '../../proto/otlp/write.ts'
import { LineError } from './line-error.ts'
import type { Mapping } from './mapping-config.ts'
import type { Pair } from './pairs.ts'
import { before, nanoseconds, nanosecondsOf } from './times.ts'

/** Where a line stands: what a span without ids of its own is named by, and without a time dated by. */
export interface LinePlace {
  readonly tenant: string
  /** The file's id and the line's offset in it. */
  readonly place: string
  readonly receivedAtMs: number
}

type Fields = Readonly<Record<string, unknown>>

/** Turns lines of any JSON object into spans, as the config's `mapping` says. */
export class Mapped {
  readonly #mapping: Mapping
  readonly #attributes: readonly (readonly [key: string, path: string])[]
  /** Top-level keys that the mapping itself uses. */
  readonly #used: ReadonlySet<string>

  constructor(mapping: Mapping) {
    const { attributes, time_format: _f, duration_unit: _u, error_values: _e, rest: _r, ...paths } = mapping
    this.#mapping = mapping
    this.#attributes = Object.entries(attributes)
    const all = [...Object.values(paths), ...Object.values(attributes)].filter((path) => path !== undefined)
    this.#used = new Set(all)
  }

  /** Throws LineError with the field that is wrong. */
  span(value: Fields, line: LinePlace): SpanFields {
    const mapping = this.#mapping
    const run = runIdOf(line.tenant, textAt(value, mapping.trace_id) ?? line.place)
    const spanId = textAt(value, mapping.span_id)
    const parent = textAt(value, mapping.parent_span_id)
    const message = textAt(value, mapping.message)
    const failed = this.#failed(at(value, mapping.status))
    return {
      traceId: Buffer.from(run.trace, 'hex'),
      spanId: spanId === undefined ? spanIdOf(run, line.place) : givenSpanId(run, spanId),
      parentSpanId: parent === undefined ? undefined : givenSpanId(run, parent),
      name: textAt(value, mapping.name) ?? 'json',
      kind: 1,
      ...this.#times(value, line),
      statusCode: failed ? 2 : 0,
      statusMessage: failed ? message?.slice(0, MAX_MESSAGE) : undefined,
      attributes: this.#pairs(value, run),
    }
  }

  #times(value: Fields, line: LinePlace): { readonly startNs: bigint; readonly endNs: bigint } {
    const { time, start_time: startTime, duration, duration_unit: unit } = this.#mapping
    const end = this.#time(value, time)
    const start = this.#time(value, startTime)
    const lasted = numberAt(value, duration)
    const lastedNs = lasted === undefined ? undefined : nanosecondsOf(lasted, unit)
    if (end === undefined && start !== undefined) return { startNs: start, endNs: start + (lastedNs ?? 0n) }
    const endNs = end ?? BigInt(line.receivedAtMs) * 1_000_000n
    return { startNs: start ?? before(endNs, lastedNs ?? 0n), endNs }
  }

  #time(value: Fields, path: string | undefined): bigint | undefined {
    const raw = at(value, path)
    if (raw === undefined || raw === null) return undefined
    const time = nanoseconds(raw, this.#mapping.time_format)
    if (time === undefined) throw new LineError(`${path}: no time of the format ${this.#mapping.time_format}`)
    return time
  }

  #failed(status: unknown): boolean {
    if (typeof status === 'boolean') return status
    if (typeof status !== 'string' && typeof status !== 'number')
      return typeof status === 'object' && status !== null
    return this.#mapping.error_values.includes(String(status).toLowerCase())
  }

  #pairs(value: Fields, run: RunId): Pair[] {
    const pairs: Pair[] = []
    if (this.#mapping.trace_id !== undefined) pairs.push(['agent.run.id', run.id])
    for (const [key, path] of this.#attributes) push(pairs, key, at(value, path))
    if (!this.#mapping.rest) return pairs
    for (const key of Object.keys(value)) if (!this.#used.has(key)) push(pairs, key, value[key])
    return pairs
  }
}

const MAX_MESSAGE = 1024

function push(pairs: Pair[], key: string, value: unknown): void {
  if (value === undefined || value === null) return
  if (typeof value === 'object') pairs.push([key, JSON.stringify(value)])
  else pairs.push([key, value as Pair[1]])
}

/** The value at a path: the key as a whole first (dotted keys are flat, design law 4), then step by step. */
function at(value: Fields, path: string | undefined): unknown {
  if (path === undefined) return undefined
  if (Object.hasOwn(value, path)) return value[path]
  let here: unknown = value
  for (const key of path.split('.')) {
    if (typeof here !== 'object' || here === null || !Object.hasOwn(here, key)) return undefined
    here = (here as Fields)[key]
  }
  return here
}

function textAt(value: Fields, path: string | undefined): string | undefined {
  const found = at(value, path)
  if (typeof found === 'number') return String(found)
  return typeof found === 'string' && found !== '' ? found : undefined
}

function numberAt(value: Fields, path: string | undefined): number | undefined {
  const found = at(value, path)
  const number = typeof found === 'string' && found !== '' ? Number(found) : found
  return typeof number === 'number' && number >= 0 && number < 1e12 ? number : undefined
}
