import { COST_STATUS, COSTS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { usdText } from '../../pipeline/genai/decimal.ts'

/** A span as Elasticsearch keeps it. */
export interface Document {
  /** `EventId` in hex: whoever sends the span again writes the same document. */
  readonly id: string
  readonly startMs: number
  readonly row: number
  readonly source: object
}

interface KeyValue {
  readonly key?: string
  readonly value?: AnyValue
}
interface AnyValue {
  readonly stringValue?: string
  readonly boolValue?: boolean
  readonly intValue?: string | number
  readonly doubleValue?: number | string
  readonly bytesValue?: string
  readonly arrayValue?: { readonly values?: readonly AnyValue[] }
  readonly kvlistValue?: { readonly values?: readonly KeyValue[] }
}
interface Span {
  readonly attributes?: readonly KeyValue[]
  readonly events?: readonly {
    readonly timeUnixNano?: string
    readonly name?: string
    readonly attributes?: readonly KeyValue[]
  }[]
  readonly links?: readonly {
    readonly traceId?: string
    readonly spanId?: string
    readonly attributes?: readonly KeyValue[]
  }[]
}
interface Scope {
  readonly scope?: {
    readonly name?: string
    readonly version?: string
    readonly attributes?: readonly KeyValue[]
  }
  readonly spans?: readonly Span[]
}
interface Otlp {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] }
    readonly scopeSpans?: readonly Scope[]
  }[]
}

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']
/** ECS `event.outcome` of OTLP status unset, ok, error. */
const OUTCOMES = ['unknown', 'success', 'failure']

/** The live spans of a batch, with all edits, in order of their rows. */
export function documentsOf(batch: Batch): Document[] {
  const rows = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => batch.isLive(row))
  const ids = new EventIds(batch.meta.tenant)
  const documents: Document[] = []
  const { resourceSpans = [] } = JSON.parse(batch.toJson()) as Otlp
  for (const { resource, scopeSpans = [] } of resourceSpans) {
    const attributes = plainMap(resource?.attributes)
    for (const { scope, spans = [] } of scopeSpans) {
      for (const span of spans) {
        const row = rows[documents.length]
        if (row === undefined) throw new RangeError('a batch has more spans than live rows')
        const source = { ...sourceOf(batch, row, span), ...placeOf(attributes, scope) }
        documents.push({ id: eventId(ids, batch, row), startMs: batch.startMs(row), row, source })
      }
    }
  }
  return documents
}

function sourceOf(batch: Batch, row: number, span: Span): object {
  const parent = hex(batch.parentSpanId(row))
  const { tenant, project, source } = batch.meta
  return {
    '@timestamp': isoNs(batch.startNs(row)),
    trace: { id: hex(batch.traceId(row)) },
    span: {
      id: hex(batch.spanId(row)),
      name: batch.name(row),
      kind: KINDS[batch.kind(row)] ?? 'unspecified',
    },
    ...(parent !== '' && { parent: { id: parent } }),
    event: { duration: Number(batch.durationNs(row)), outcome: OUTCOMES[batch.statusCode(row)] ?? 'unknown' },
    ...(batch.statusMessage(row) !== '' && { status: { message: batch.statusMessage(row) } }),
    attributes: plainMap(span.attributes),
    ...(span.events !== undefined && {
      events: span.events.map((event) => ({
        '@timestamp': isoNs(BigInt(event.timeUnixNano ?? 0)),
        name: event.name ?? '',
        attributes: plainMap(event.attributes),
      })),
    }),
    ...(span.links !== undefined && {
      links: span.links.map((link) => ({
        trace: { id: link.traceId ?? '' },
        span: { id: link.spanId ?? '' },
        attributes: plainMap(link.attributes),
      })),
    }),
    weir: {
      tenant,
      ...(project !== '' && { project }),
      source,
      ...(batch.facts && meaningOf(batch.facts, row)),
    },
  }
}

function placeOf(attributes: Readonly<Record<string, unknown>>, scope: Scope['scope']): object {
  const service = attributes['service.name']
  return {
    service: { name: typeof service === 'string' ? service : '' },
    resource: { attributes },
    scope: {
      name: scope?.name ?? '',
      version: scope?.version ?? '',
      attributes: plainMap(scope?.attributes),
    },
  }
}

/** Model, tokens and cost; what is absent is left out. */
function meaningOf(facts: SpanFacts, row: number): object {
  const texts = {
    run_id: facts.runId[row],
    session_id: facts.sessionId[row],
    user_id: facts.userId[row],
    agent: facts.agentName[row],
    tool: facts.toolName[row],
    operation: facts.operation[row],
    provider: facts.provider[row],
    model: facts.responseModel[row] || facts.requestModel[row],
    price_model: facts.priceModel[row],
    cost_reason: facts.costReason[row],
  }
  const found = Object.fromEntries(
    Object.entries(texts).filter(([, text]) => text !== undefined && text !== ''),
  )
  if (facts.leaf[row] !== 1) return found
  const tokens = TOKENS.map((name, at) => [snake(name), facts.tokens[row * TOKENS.length + at] ?? 0] as const)
  return {
    ...found,
    ...Object.fromEntries(tokens.filter(([, count]) => count > 0)),
    cost_usd: Number(usdText(facts.cost[row * COSTS.length] ?? 0n)),
    cost_status: COST_STATUS[facts.costStatus[row] ?? 0] ?? 'none',
  }
}

function snake(name: string): string {
  return name.replace(/(?<=[a-z0-9])[A-Z]/g, (letter) => `_${letter}`).toLowerCase()
}

/** Keys as they are, dots included: the field is of a flat type. */
function plainMap(attributes: readonly KeyValue[] = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key = '', value = {} }) => [key, plain(value)]))
}

function plain(value: AnyValue): unknown {
  if (value.intValue !== undefined) return safeInt(value.intValue)
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(plain)
  if (value.kvlistValue !== undefined) return plainMap(value.kvlistValue.values)
  return value.stringValue ?? value.boolValue ?? value.doubleValue ?? value.bytesValue ?? null
}

/** A number where JSON holds it exactly, else its digits. */
function safeInt(value: string | number): number | string {
  const number = Number(value)
  return Number.isSafeInteger(number) ? number : String(value)
}

function isoNs(ns: bigint): string {
  const ms = ns / 1_000_000n
  const date = new Date(Number(ms))
  // Past the years that a date can have: Elasticsearch would refuse it, and 0 is as wrong.
  const iso = Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString()
  return `${iso.slice(0, -1)}${String(ns % 1_000_000n).padStart(6, '0')}Z`
}

function eventId(ids: EventIds, batch: Batch, row: number): string {
  const key = Buffer.alloc(32)
  const [trace, span] = [batch.traceId(row), batch.spanId(row)]
  key.set(trace, 0)
  key.set(span, 16)
  key.writeBigUInt64LE(batch.startNs(row), 24)
  return ids.of(key, trace.length === 16 ? 0 : -1, span.length === 8 ? 16 : -1, 24).toString('hex')
}

function hex(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex')
}
