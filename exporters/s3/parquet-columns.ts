import type { SchemaElement } from 'hyparquet'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { IdColumn, TextColumn } from '../../pipeline/batch/fact-columns.ts'
import { COST_STATUS, COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import type { TableReader } from '../../pipeline/batch/table-reader.ts'
import { hintText } from '../../pipeline/genai/price-hints.ts'
import { attributesJson } from './attributes-json.ts'

/** One span, as the columns read it. */
export interface Source {
  readonly batch: Batch
  /** Over the batch's live spans with all edits; `at` is the span's row in it. */
  readonly reader: TableReader
  readonly at: number
  readonly facts: SpanFacts
  /** The span's row in the batch. */
  readonly row: number
  readonly eventId: string
  /** Attributes of the resource and the scope as JSON. */
  readonly resource: string
  readonly scope: string
}

export interface Column {
  readonly schema: SchemaElement
  readonly value: (source: Source) => unknown
  /** Hardly a value comes twice: no dictionary is tried, and no bounds are kept, which would leave nothing out. */
  readonly isUnique?: true
}

const SERVICE_NAME = keyId('service.name')
const REDACTIONS = keyId('weir.redactions')
const VIOLATIONS = keyId('weir.violations')
/** As the collector's ClickHouse exporter writes them. */
const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']
const INT64_MAX = 2n ** 63n - 1n

/**
 * A row per span: names, words and units of the ClickHouse table (contract section 6), so that the same questions can be
 * asked; attributes, events and links as JSON text. Nothing is null but a cost that nobody gave.
 */
export const COLUMNS: readonly Column[] = [
  nanos('Timestamp', ({ reader, at }) => reader.startNs(at)),
  unique('TraceId', ({ reader, at }) => hex(reader.traceId(at))),
  unique('SpanId', ({ reader, at }) => hex(reader.spanId(at))),
  unique('ParentSpanId', ({ reader, at }) => hex(reader.parentSpanId(at))),
  text('TraceState', ({ reader, at }) => reader.traceState(at)),
  text('SpanName', ({ reader, at }) => reader.name(at)),
  text('SpanKind', ({ reader, at }) => KINDS[reader.kind(at)] ?? 'Unspecified'),
  text('ServiceName', ({ reader, at }) => serviceOf(reader, at)),
  text('ResourceAttributes', ({ resource }) => resource),
  text('ScopeName', ({ reader, at }) => reader.scopeName(at)),
  text('ScopeVersion', ({ reader, at }) => reader.scopeVersion(at)),
  text('ScopeAttributes', ({ scope }) => scope),
  unique('SpanAttributes', ({ reader, at }) => attributesJson(reader, reader.attrs(at, 'span'))),
  int64('Duration', ({ reader, at }) => within(reader.durationNs(at))),
  text('StatusCode', ({ reader, at }) => STATUSES[reader.statusCode(at)] ?? 'Unset'),
  text('StatusMessage', ({ reader, at }) => reader.statusMessage(at)),
  unique('Events', ({ reader, at }) => eventsJson(reader, at)),
  unique('Links', ({ reader, at }) => linksJson(reader, at)),
  text('TenantId', ({ batch }) => batch.meta.tenant),
  text('ProjectId', ({ batch }) => batch.meta.project),
  fact('RunId', 'runId'),
  int64('Seq', ({ facts, row }) => BigInt(facts.seq[row]!)),
  fact('SessionId', 'sessionId'),
  fact('UserId', 'userId'),
  fact('AgentName', 'agentName'),
  fact('ToolName', 'toolName'),
  fact('Operation', 'operation'),
  column({ name: 'ModelCall', type: 'BOOLEAN' }, ({ facts, row }) => facts.leaf[row] === 1),
  fact('Provider', 'provider'),
  fact('RequestModel', 'requestModel'),
  fact('ResponseModel', 'responseModel'),
  fact('PriceModel', 'priceModel'),
  fact('ServiceTier', 'serviceTier'),
  fact('FinishReason', 'finishReason'),
  ...TOKENS.map((name, i) => int64(name, ({ facts, row }) => BigInt(facts.tokens[row * TOKENS.length + i]!))),
  fact('UsageSemantics', 'usageSemantics'),
  ...COSTS.map((name, i) => money(name, ({ facts, row }) => facts.cost[row * COSTS.length + i]!)),
  money('CostProvidedUsd', ({ facts, row }) => givenCost(facts.costProvided[row]!), 'OPTIONAL'),
  text('CostStatus', ({ facts, row }) => COST_STATUS[facts.costStatus[row]!] ?? 'none'),
  fact('CostReason', 'costReason'),
  fact('PriceVersion', 'priceVersion'),
  text('PriceHints', ({ facts, row }) => hintText(facts.priceHints.get(row))),
  double('TimeToFirstTokenMs', ({ facts, row }) => facts.timeToFirstTokenMs[row]!),
  double('SampleRate', ({ facts, row }) => facts.sampleRate[row]!),
  int64('Redactions', ({ reader, at }) => countOf(reader, at, REDACTIONS)),
  int64('Violations', ({ reader, at }) => countOf(reader, at, VIOLATIONS)),
  unique('EventId', ({ eventId }) => eventId),
  int64('WalSeq', ({ batch }) => BigInt(batch.meta.wal?.seq ?? 0)),
  int64('WalRow', ({ batch, row }) => BigInt((batch.meta.wal?.row ?? 0) + row)),
]

function column(
  schema: SchemaElement,
  value: Column['value'],
  repetition: 'REQUIRED' | 'OPTIONAL' = 'REQUIRED',
): Column {
  return { schema: { ...schema, repetition_type: repetition }, value }
}

function text(name: string, value: (source: Source) => string): Column {
  return column({ name, type: 'BYTE_ARRAY', converted_type: 'UTF8' }, value)
}

function unique(name: string, value: (source: Source) => string): Column {
  return { ...text(name, value), isUnique: true }
}

type Words = {
  [K in keyof SpanFacts]: SpanFacts[K] extends TextColumn | IdColumn ? K : never
}[keyof SpanFacts]

function fact(name: string, field: Words): Column {
  return text(name, ({ facts, row }) => facts[field].at(row))
}

function int64(name: string, value: (source: Source) => bigint): Column {
  return column({ name, type: 'INT64' }, value)
}

function double(name: string, value: (source: Source) => number): Column {
  return column({ name, type: 'DOUBLE' }, value)
}

/** UTC, nanoseconds; what lies past the year 2262 is that year. */
function nanos(name: string, value: (source: Source) => bigint): Column {
  const logical_type = { type: 'TIMESTAMP', isAdjustedToUTC: true, unit: 'NANOS' } as const
  return column({ name, type: 'INT64', logical_type }, (source) => within(value(source)))
}

/** DECIMAL(18, 12), as facts hold it. */
function money(
  name: string,
  value: (source: Source) => bigint | undefined,
  repetition?: 'REQUIRED' | 'OPTIONAL',
): Column {
  return column(
    { name, type: 'INT64', converted_type: 'DECIMAL', scale: 12, precision: 18 },
    value,
    repetition,
  )
}

/** Negative: the sender gave none. */
function givenCost(value: bigint): bigint | undefined {
  return value < 0n ? undefined : value
}

function within(value: bigint): bigint {
  return value > INT64_MAX ? INT64_MAX : value
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length).toString('hex')
}

function serviceOf(reader: TableReader, at: number): string {
  const ref = reader.resourceAttr(at, SERVICE_NAME)
  return ref < 0 ? '' : reader.text(ref)
}

function countOf(reader: TableReader, at: number, key: typeof REDACTIONS): bigint {
  const ref = reader.attr(at, key)
  const count = ref < 0 ? 0 : reader.number(ref)
  return count > 0 && count <= 0xffff_ffff ? BigInt(Math.floor(count)) : 0n
}

/** `[{"time_unix_nano": "…", "name": "…", "attributes": {…}}]`; times as text, since they pass 2^53. */
function eventsJson(reader: TableReader, at: number): string {
  const { first, end } = reader.events(at)
  const events: string[] = []
  for (let event = first; event < end; event++) {
    const name = JSON.stringify(reader.eventName(event))
    const attributes = attributesJson(reader, reader.eventAttrs(event))
    events.push(`{"time_unix_nano":"${reader.eventTimeNs(event)}","name":${name},"attributes":${attributes}}`)
  }
  return `[${events.join(',')}]`
}

/** `[{"trace_id": "…", "span_id": "…", "trace_state": "…", "attributes": {…}}]` */
function linksJson(reader: TableReader, at: number): string {
  const { first, end } = reader.links(at)
  const links: string[] = []
  for (let link = first; link < end; link++) {
    const ids = `"trace_id":"${hex(reader.linkTraceId(link))}","span_id":"${hex(reader.linkSpanId(link))}"`
    const state = JSON.stringify(reader.linkTraceState(link))
    const attributes = attributesJson(reader, reader.linkAttrs(link))
    links.push(`{${ids},"trace_state":${state},"attributes":${attributes}}`)
  }
  return `[${links.join(',')}]`
}
