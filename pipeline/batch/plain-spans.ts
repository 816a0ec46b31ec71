import type { Batch } from './batch.ts'
import { COST_STATUS, COSTS, TOKENS, type SpanFacts } from './facts.ts'
import { usdText } from '../genai/decimal.ts'

/** Spans as plain JSON values, for destinations that index or show JSON. */

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
interface OtlpSpan {
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
  readonly spans?: readonly OtlpSpan[]
}
interface Otlp {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: readonly KeyValue[] }
    readonly scopeSpans?: readonly Scope[]
  }[]
}

/** A live span with all edits. Attributes as they are, dots in keys included; see `plainMap`. */
export interface PlainSpan {
  readonly row: number
  readonly span: OtlpSpan
  readonly attributes: PlainMap
  readonly resource: PlainMap
  readonly scope: { readonly name: string; readonly version: string; readonly attributes: PlainMap }
}

export type PlainMap = Readonly<Record<string, unknown>>

const KINDS = ['unspecified', 'internal', 'server', 'client', 'producer', 'consumer']

/** The live spans of a batch in order of their rows. */
export function plainSpans(batch: Batch): PlainSpan[] {
  const rows = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => batch.isLive(row))
  const found: PlainSpan[] = []
  const { resourceSpans = [] } = JSON.parse(batch.toJson()) as Otlp
  for (const { resource, scopeSpans = [] } of resourceSpans) {
    const ofResource = plainMap(resource?.attributes)
    for (const { scope, spans = [] } of scopeSpans) {
      const ofScope = {
        name: scope?.name ?? '',
        version: scope?.version ?? '',
        attributes: plainMap(scope?.attributes),
      }
      for (const span of spans) {
        const row = rows[found.length]
        if (row === undefined) throw new RangeError('a batch has more spans than live rows')
        const attributes = plainMap(span.attributes)
        found.push({ row, span, attributes, resource: ofResource, scope: ofScope })
      }
    }
  }
  return found
}

/** `service.name`; '' where the resource has none. */
export function serviceOf({ resource }: PlainSpan): string {
  const name = resource['service.name']
  return typeof name === 'string' ? name : ''
}

export function kindName(kind: number): string {
  return KINDS[kind] ?? 'unspecified'
}

/** Agent, model, tokens and cost of a row; what is absent is left out. `cost_usd` is a double. */
export function plainFacts(facts: SpanFacts, row: number): PlainMap {
  const texts = {
    run_id: facts.runId.at(row),
    session_id: facts.sessionId.at(row),
    user_id: facts.userId.at(row),
    agent: facts.agentName.at(row),
    tool: facts.toolName.at(row),
    operation: facts.operation.at(row),
    provider: facts.provider.at(row),
    model: facts.responseModel.at(row) || facts.requestModel.at(row),
    price_model: facts.priceModel.at(row),
    cost_reason: facts.costReason.at(row),
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

/** Ints as numbers where JSON holds them exactly, else as their digits; bytes as base64. */
export function plainMap(attributes: readonly KeyValue[] = []): Record<string, unknown> {
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

export function isoNs(ns: bigint): string {
  const ms = ns / 1_000_000n
  const date = new Date(Number(ms))
  // Past the years that a date can have: Elasticsearch would refuse it, and 0 is as wrong.
  const iso = Number.isNaN(date.getTime()) ? new Date(0).toISOString() : date.toISOString()
  return `${iso.slice(0, -1)}${String(ns % 1_000_000n).padStart(6, '0')}Z`
}

export function hex(id: Uint8Array): string {
  return Buffer.from(id.buffer, id.byteOffset, id.byteLength).toString('hex')
}
