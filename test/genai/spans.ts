import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import type { Batch, BatchMeta } from '../../pipeline/batch/batch.ts'
import { COSTS, COST_STATUS, TOKENS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'

/** Spans for tests, written as plain attribute objects and read through the real decoder. */

export type Attributes = Readonly<Record<string, string | number | boolean | readonly string[]>>

export interface SpanSketch {
  readonly attributes: Attributes
  readonly start?: string
  readonly scope?: string
  readonly resource?: Attributes
  readonly tenant?: string
  readonly events?: readonly {
    readonly name: string
    readonly afterMs: number
    readonly attributes?: Attributes
  }[]
}

const META: BatchMeta = {
  signal: 'traces',
  tenant: 'default',
  project: '',
  principal: '',
  source: 'test',
  receivedAtMs: Date.parse('2026-08-01T12:00:00Z'),
  digest: new Uint8Array(16),
}

export function batchOfJson(document: unknown, tenant = 'default'): Batch {
  return decodeJsonBatch(Buffer.from(JSON.stringify(document)), { ...META, tenant })
}

/** One batch of the spans, each under its own scope. */
export function batchOf(...spans: readonly SpanSketch[]): Batch {
  const resourceSpans = spans.map((span, index) => ({
    resource: { attributes: attributesOf(span.resource ?? {}) },
    scopeSpans: [
      {
        scope: { name: span.scope ?? 'test' },
        spans: [
          {
            traceId: '0af7651916cd43dd8448eb211c80319c',
            spanId: (index + 1).toString(16).padStart(16, '0'),
            name: 'call',
            startTimeUnixNano: String(startNs(span)),
            endTimeUnixNano: '0',
            attributes: attributesOf(span.attributes),
            events: (span.events ?? []).map((event) => ({
              name: event.name,
              timeUnixNano: String(startNs(span) + BigInt(event.afterMs) * 1_000_000n),
              attributes: attributesOf(event.attributes ?? {}),
            })),
          },
        ],
      },
    ],
  }))
  return batchOfJson({ resourceSpans }, spans[0]?.tenant)
}

function startNs(span: SpanSketch): bigint {
  return BigInt(Date.parse(span.start ?? '2026-08-01T12:00:00Z')) * 1_000_000n
}

function attributesOf(attributes: Attributes): { key: string; value: object }[] {
  return Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) }))
}

function anyValue(value: Attributes[string]): object {
  if (typeof value === 'string') return { stringValue: value }
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'number')
    return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
  return { arrayValue: { values: value.map((item) => ({ stringValue: item })) } }
}

/** The buckets of a row that are not 0. */
export function tokensOf(facts: SpanFacts, row = 0): Record<string, number> {
  return Object.fromEntries(
    TOKENS.map((name, index) => [name, facts.tokens[row * TOKENS.length + index] ?? 0]).filter(
      ([, count]) => count !== 0,
    ),
  ) as Record<string, number>
}

/** The cost columns of a row, in units of 1e-12 USD. */
export function costsOf(facts: SpanFacts, row = 0): Record<(typeof COSTS)[number], bigint> {
  return Object.fromEntries(
    COSTS.map((name, index) => [name, facts.cost[row * COSTS.length + index] ?? 0n]),
  ) as Record<(typeof COSTS)[number], bigint>
}

export function statusOf(facts: SpanFacts, row = 0): string {
  return COST_STATUS[facts.costStatus[row] ?? -1] ?? ''
}

/** A file of the shared test data, unpacked; undefined when this checkout has none beside it. */
export function sharedData(name: string): string | undefined {
  const path = fileURLToPath(new URL(`../../../shared/data/${name}`, import.meta.url))
  if (!existsSync(path)) return undefined
  const bytes = readFileSync(path)
  return (name.endsWith('.gz') ? gunzipSync(bytes) : bytes).toString('utf8')
}
