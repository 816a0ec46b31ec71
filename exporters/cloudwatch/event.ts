import type { Batch } from '../../pipeline/batch/batch.ts'
import {
  hex,
  isoNs,
  kindName,
  plainFacts,
  plainMap,
  plainSpans,
  serviceOf,
  type PlainMap,
  type PlainSpan,
} from '../../pipeline/batch/plain-spans.ts'
import type { Config } from './config.ts'
import type { NameFields } from './names.ts'

/** A span as a log event. */
export interface LogEvent {
  readonly row: number
  /** Unix ms of the span's start; of its receipt where it has none. */
  readonly timestamp: number
  readonly message: string
  readonly names: NameFields
}

type Emf = NonNullable<Config['emf']>

const STATUSES = ['unset', 'ok', 'error']
/** Metrics of a model call: its field in the event and CloudWatch's unit. */
const METRICS: readonly (readonly [name: string, unit: string])[] = [
  ['duration_ms', 'Milliseconds'],
  ['cost_usd', 'None'],
  ['input_tokens', 'Count'],
  ['cache_read_tokens', 'Count'],
  ['cache_write_tokens', 'Count'],
  ['output_tokens', 'Count'],
  ['reasoning_tokens', 'Count'],
  ['time_to_first_token_ms', 'Milliseconds'],
]
/** EMF drops a whole event whose dimension is longer. */
const MAX_DIMENSION = 1024

/** The live spans of a batch, with all edits, in order of their rows. */
export function eventsOf(batch: Batch, emf: Emf | undefined): LogEvent[] {
  return plainSpans(batch).map((plain) => {
    const { row } = plain
    const timestamp = batch.startMs(row) || batch.meta.receivedAtMs
    const fields = fieldsOf(batch, plain)
    const metrics = emf !== undefined && batch.facts?.leaf[row] === 1 ? metricsOf(fields, timestamp, emf) : {}
    const { tenant, project } = batch.meta
    const names = { tenant, project, service: serviceOf(plain), agent: batch.facts?.agentName.at(row) ?? '' }
    return { row, timestamp, message: JSON.stringify({ ...metrics, ...fields }), names }
  })
}

/** Logs Insights finds the first 200 fields of an event: what is asked for most stands first. */
function fieldsOf(batch: Batch, plain: PlainSpan): PlainMap {
  const { row, span, scope } = plain
  const { tenant, project, source } = batch.meta
  const { facts } = batch
  const parent = hex(batch.parentSpanId(row))
  const message = batch.statusMessage(row)
  const firstToken = facts?.timeToFirstTokenMs[row] ?? 0
  return {
    trace_id: hex(batch.traceId(row)),
    span_id: hex(batch.spanId(row)),
    ...(parent !== '' && { parent_span_id: parent }),
    name: batch.name(row),
    kind: kindName(batch.kind(row)),
    start_time: isoNs(batch.startNs(row)),
    duration_ms: Number(batch.durationNs(row)) / 1e6,
    status: STATUSES[batch.statusCode(row)] ?? 'unset',
    ...(message !== '' && { status_message: message }),
    service: serviceOf(plain),
    tenant,
    ...(project !== '' && { project }),
    source,
    ...(facts && plainFacts(facts, row)),
    ...(firstToken > 0 && { time_to_first_token_ms: firstToken }),
    attributes: plain.attributes,
    resource: plain.resource,
    ...(scope.name !== '' && { scope }),
    ...(span.events !== undefined && {
      events: span.events.map(({ name = '', timeUnixNano = 0, attributes }) => ({
        name,
        time: isoNs(BigInt(timeUnixNano)),
        attributes: plainMap(attributes),
      })),
    }),
    ...(span.links !== undefined && {
      links: span.links.map(({ traceId = '', spanId = '', attributes }) => ({
        trace_id: traceId,
        span_id: spanId,
        attributes: plainMap(attributes),
      })),
    }),
  }
}

/** The `_aws` block: which fields of the event are metrics, and by what. Nothing where no set of dimensions is whole. */
function metricsOf(fields: PlainMap, timestamp: number, { namespace, dimensions }: Emf): object {
  const isWhole = (name: string): boolean => {
    const value = fields[name]
    return typeof value === 'string' && value !== '' && value.length <= MAX_DIMENSION
  }
  const whole = dimensions.filter((set) => set.every(isWhole))
  const metrics = METRICS.filter(([name]) => typeof fields[name] === 'number')
  if (whole.length === 0) return {}
  const directive = {
    Namespace: namespace,
    Dimensions: whole,
    Metrics: metrics.map(([Name, Unit]) => ({ Name, Unit })),
  }
  return { _aws: { Timestamp: timestamp, CloudWatchMetrics: [directive] } }
}
