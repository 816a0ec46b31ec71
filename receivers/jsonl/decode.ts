import { basename } from 'node:path'
import { checkEvents, UNKNOWN_KEY, type CheckedEvent } from '../../pipeline/agent/check.ts'
import { EventFault } from '../../pipeline/agent/event-fault.ts'
import { EVENT_TYPES } from '../../pipeline/agent/event.ts'
import { fromJson, JsonError } from '../../proto/otlp/from-json.ts'
import { TRACE_REQUEST } from '../../proto/otlp/schema.ts'
import { writeRequest, type SpanFields } from '../../proto/otlp/write.ts'
import { auditSpan, isAudit } from './audit.ts'
import type { JsonlConfig } from './config.ts'
import { LineError } from './line-error.ts'
import { Mapped } from './mapped.ts'
import type { Pair } from './pairs.ts'

/** What lines of one range are part of. */
export interface Range {
  readonly tenant: string
  readonly fileId: string
  readonly path: string
  readonly receivedAtMs: number
}

/** Lines of a range as one OTLP request. */
export interface Decoded {
  /** An ExportTraceServiceRequest; empty without spans. */
  readonly bytes: Buffer
  /** toon events, which are numbered before they become spans. */
  readonly events: readonly CheckedEvent[]
}

type Fields = Record<string, unknown>

const SCOPE = { name: 'weir.jsonl', version: '1' }
const LEFT_BRACE = 0x7b

/** What each line of OTLP/JSON begins with, as the collector's exporters write it. */
const OTLP = Buffer.from('{"resourceSpans"')
const OTHER_SIGNALS = ['resourceLogs', 'resourceMetrics', 'resourceProfiles']

/** From lines to spans. Lines are UTF-8, without their newline. */
export class Decoder {
  readonly #config: JsonlConfig
  readonly #mapped: Mapped | undefined
  readonly #resource: readonly Pair[]
  readonly #attributes: readonly Pair[]

  constructor(config: JsonlConfig) {
    this.#config = config
    this.#mapped = config.mapping && new Mapped(config.mapping)
    this.#resource = Object.entries(config.resource)
    this.#attributes = Object.entries(config.attributes)
  }

  range(range: Range): RangeDecoder {
    return new RangeDecoder(this, range)
  }

  /** Throws LineError. */
  line(line: Buffer, offset: number, range: Range): Buffer | SpanFields | CheckedEvent {
    const { format } = this.#config
    if (format === 'otlp_json' || (format === 'auto' && startsWith(line, OTLP))) return otlp(line)
    const value = parse(line)
    if (format === 'audit' || (format === 'auto' && isAudit(value)))
      return this.#added(auditSpan(value, range.tenant))
    if (format === 'toon' || (format === 'auto' && isToon(value))) return toon(value)
    const isOtlp = format === 'auto' && Array.isArray(value['resourceSpans'])
    if (isOtlp) return otlp(line)
    if (this.#mapped === undefined) throw new LineError(unknown(value))
    const place = `${range.fileId}\0${offset}`
    return this.#added(
      this.#mapped.span(value, { tenant: range.tenant, place, receivedAtMs: range.receivedAtMs }),
    )
  }

  resource(path: string): readonly Pair[] {
    const { include_file_name: name, include_file_path: whole } = this.#config
    const pairs = [...this.#resource]
    if (name) pairs.push(['log.file.name', basename(path)])
    if (whole) pairs.push(['log.file.path', path])
    return pairs
  }

  #added(span: SpanFields): SpanFields {
    if (this.#attributes.length === 0) return span
    return { ...span, attributes: [...span.attributes, ...this.#attributes] }
  }
}

/** Collects one range: requests as they are, and spans that share a resource with their neighbours. */
export class RangeDecoder {
  readonly #decoder: Decoder
  readonly #range: Range
  readonly #parts: Buffer[] = []
  readonly #events: CheckedEvent[] = []
  #spans: SpanFields[] = []

  constructor(decoder: Decoder, range: Range) {
    this.#decoder = decoder
    this.#range = range
  }

  /** Throws LineError; then nothing of the line is in. */
  add(line: Buffer, offset: number): void {
    const made = this.#decoder.line(line, offset, this.#range)
    if (Buffer.isBuffer(made)) {
      this.#flush()
      this.#parts.push(made)
    } else if ('event' in made) this.#events.push(made)
    else this.#spans.push(made)
  }

  take(): Decoded {
    this.#flush()
    const [only] = this.#parts
    const bytes = this.#parts.length === 1 && only !== undefined ? only : Buffer.concat(this.#parts)
    return { bytes, events: this.#events }
  }

  #flush(): void {
    if (this.#spans.length === 0) return
    const resource = this.#decoder.resource(this.#range.path)
    this.#parts.push(
      writeRequest([{ resource, scope: SCOPE, spans: this.#spans }], 1024 * this.#spans.length),
    )
    this.#spans = []
  }
}

function otlp(line: Buffer): Buffer {
  try {
    const bytes = fromJson(TRACE_REQUEST, line)
    // Unknown keys are legal, so that a line of another signal would pass as one without spans.
    if (bytes.length === 0) refuseOthers(parse(line))
    return bytes
  } catch (error) {
    if (error instanceof JsonError) throw new LineError(`OTLP/JSON: ${error.message}`)
    throw error
  }
}

const TYPES: ReadonlySet<unknown> = new Set(EVENT_TYPES)

function isToon(value: Fields): boolean {
  return TYPES.has(value['type']) && typeof value['payload'] === 'object'
}

function toon(value: Fields): CheckedEvent {
  try {
    const [event] = checkEvents([value])
    if (event?.event.meta?.run_id === undefined)
      throw new LineError('toon event: meta.run_id: must name the run')
    return event
  } catch (error) {
    if (!(error instanceof EventFault)) throw error
    const [first] = error.errors
    if (first?.message === UNKNOWN_KEY) throw new LineError('toon event: it has a key that no event has')
    throw new LineError(`toon event: ${first?.field ?? ''}: ${first?.message ?? 'is not one'}`)
  }
}

/** Depth is bounded by V8's parser, which takes any; what is nested is only written out again. */
function parse(line: Buffer): Fields {
  if (line[0] !== LEFT_BRACE && line[firstOf(line)] !== LEFT_BRACE) throw new LineError('no JSON object')
  try {
    const value: unknown = JSON.parse(line.toString('utf8'))
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Fields
  } catch {
    // The engine's message quotes the line.
  }
  throw new LineError('no JSON object')
}

function firstOf(line: Buffer): number {
  let at = 0
  while (line[at] === 0x20 || line[at] === 0x09) at++
  return at
}

function startsWith(line: Buffer, prefix: Buffer): boolean {
  return line.length > prefix.length && line.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
}

function refuseOthers(value: Fields): void {
  const other = OTHER_SIGNALS.find((name) => Object.hasOwn(value, name))
  if (other !== undefined) throw new LineError(`${other}: weir takes traces only`)
}

function unknown(value: Fields): string {
  refuseOthers(value)
  return 'no format that is known; a `mapping` would say how to read it'
}
