import * as fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { TOKENS } from '../../pipeline/batch/facts.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { encodeDocument } from '../../test/contract/otlp-clients.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { TRACE_FILES } from '../../test/genai/expected-traces.ts'
import { sharedData } from '../../test/genai/spans.ts'
import { goldenRequests } from '../../test/golden/dataset.ts'
import { attributesOf, settled, type AnyValue, type KeyValue } from '../../test/s3/attributes.ts'
import { batchesIn, isData, rowsIn, type Row } from '../../test/s3/read-back.ts'
import { S3Server } from '../../test/support/s3-server.ts'
import { config } from './config.ts'
import { s3 } from './factory.ts'

const s3Maker = await s3.load()

/** What goes in comes back from the bucket, read by others than who wrote it: equal, attribute for attribute. */

const NEVER = new AbortController().signal
let server: S3Server

beforeAll(async () => {
  server = await S3Server.start()
})
afterAll(() => server.close())

let turn = 0

/** The objects that a delivery of these batches becomes. */
async function stored(
  batches: readonly Batch[],
  more: object,
  marshaler: string,
): Promise<[string, Buffer][]> {
  const s3_prefix = `round/${++turn}`
  const s3uploader = { ...server.place, s3_prefix, s3_partition_format: 'year=%Y', ...more }
  const exporter = s3Maker.create(config.parse({ marshaler, s3uploader }), exporterContext('s3'))
  await exporter.start?.()
  await exporter.deliver?.(testDelivery(batches), NEVER)
  await exporter.stop?.(NEVER)
  return [...(await server.objects(s3_prefix))].filter(([key]) => isData(key))
}

const META = testBatch([]).meta
const batchOf = (document: object, index: number): Batch =>
  decodeBatch(encodeDocument(document), { ...META, wal: { seq: index + 1, row: 0 } })

function golden(): Batch[] {
  return goldenRequests('ab').map(({ document }, index) => batchOf(document, index))
}

/** Undefined without the shared data: these tests skip, and say so. */
const texts = TRACE_FILES.map((name) => sharedData(`traces/otlp/${name}.otlp.json.gz`))
const hasTraces = !texts.includes(undefined)
const real = (): Batch[] => texts.map((text, i) => batchOf(JSON.parse(text ?? '{}') as object, i))

interface SpanJson extends Attributed, Named {
  readonly traceId?: string
  readonly spanId?: string
  readonly parentSpanId?: string
  readonly traceState?: string
  readonly kind?: number
  readonly startTimeUnixNano?: string
  readonly endTimeUnixNano?: string
  readonly status?: { readonly code?: number; readonly message?: string }
  readonly events?: readonly NoteJson[]
  readonly links?: readonly NoteJson[]
}
interface Placed {
  readonly span: SpanJson
  readonly resource: unknown
  readonly scope: unknown
  readonly tail: string
}

/** All spans of OTLP batches with what they stand under, in one order. */
function spansOf(batches: readonly Batch[]): Placed[] {
  const placed = batches.flatMap((batch) => {
    const { resourceSpans = [] } = JSON.parse(batch.toJson()) as {
      resourceSpans?: {
        resource?: object
        schemaUrl?: string
        scopeSpans?: { scope?: object; schemaUrl?: string; spans?: SpanJson[] }[]
      }[]
    }
    return resourceSpans.flatMap(({ resource, schemaUrl = '', scopeSpans = [] }) =>
      scopeSpans.flatMap(({ scope, spans = [], ...rest }) =>
        spans.map((span) => ({ span, resource, scope, tail: `${schemaUrl} ${rest.schemaUrl ?? ''}` })),
      ),
    )
  })
  const id = ({ span }: Placed): string => `${span.traceId}${span.spanId}${JSON.stringify(span)}`
  return placed.toSorted((a, b) => (id(a) < id(b) ? -1 : 1))
}

const INPUTS: readonly [string, boolean, () => Batch[]][] = [
  ['generated pairwise cases', true, golden],
  ['real traces of eight frameworks', hasTraces, real],
]

describe.each(INPUTS)('%s', (_name, has, make) => {
  test.skipIf(!has).each(['otlp_json', 'otlp_proto'])('%s', async (marshaler) => {
    for (const compression of ['none', 'gzip']) {
      const inputs = make()
      const objects = await stored(inputs, { compression }, marshaler)
      const read = objects.flatMap(([key, bytes]) => batchesIn(key, bytes))
      expect(spansOf(read)).toEqual(spansOf(inputs))
      expect(spansOf(read).length).toBeGreaterThan(50)
    }
  })

  test.skipIf(!has)('parquet', async () => {
    for (const compression of ['none', 'gzip']) {
      const inputs = make()
      const objects = await stored(inputs, { compression }, 'parquet')
      const rows = (await Promise.all(objects.map(([, bytes]) => rowsIn(bytes)))).flat()
      const inOrder = rows.toSorted((a, b) => orderOf(a) - orderOf(b))
      const expected = inputs.flatMap((batch) => spanRows(batch))
      expect(inOrder.map(shownRow)).toEqual(expected)
    }
  })
})

function orderOf(row: Row): number {
  return Number(row['WalSeq']) * 1e6 + Number(row['WalRow'])
}

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']

/** What the rows of a batch must say, from its OTLP/JSON and its facts. */
function spanRows(batch: Batch): object[] {
  const facts = factsOf(batch)
  const { resourceSpans = [] } = JSON.parse(batch.toJson()) as {
    resourceSpans?: {
      resource?: Attributed
      scopeSpans?: { scope?: Attributed & Named; spans?: SpanJson[] }[]
    }[]
  }
  const rows = resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ scope, spans = [] }) => spans.map((span) => ({ resource, scope, span }))),
  )
  return rows.map(({ resource, scope, span }, row) => {
    const start = BigInt(span.startTimeUnixNano ?? 0)
    const end = BigInt(span.endTimeUnixNano ?? 0)
    const { status = {} } = span
    return {
      traceId: span.traceId ?? '',
      spanId: span.spanId ?? '',
      parent: span.parentSpanId ?? '',
      state: span.traceState ?? '',
      name: span.name ?? '',
      kind: KINDS[span.kind ?? 0],
      start: String(start),
      duration: String(end > start ? end - start : 0n),
      status: STATUSES[status.code ?? 0],
      message: status.message ?? '',
      resource: settled(resource?.attributes),
      scope: [scope?.name ?? '', scope?.version ?? '', settled(scope?.attributes)],
      attributes: settled(span.attributes),
      events: (span.events ?? []).map((event) => ({
        at: quoted(event.timeUnixNano ?? '0'),
        name: quoted(event.name),
        attributes: settled(event.attributes),
      })),
      links: (span.links ?? []).map((link) => ({
        at: `${quoted(link.traceId)} ${quoted(link.spanId)}`,
        name: quoted(link.traceState),
        attributes: settled(link.attributes),
      })),
      meaning: [
        facts.operation.at(row),
        facts.requestModel.at(row),
        facts.runId.at(row),
        facts.leaf[row] === 1,
      ],
      tokens: Array.from(facts.tokens.subarray(row * 10, row * 10 + 10), String),
    }
  })
}

const quoted = (text = ''): string => JSON.stringify(text)

interface Attributed {
  readonly attributes?: KeyValue[]
}
interface Named {
  readonly name?: string
  readonly version?: string
}
interface NoteJson extends Attributed, Named {
  readonly timeUnixNano?: string
  readonly traceId?: string
  readonly spanId?: string
  readonly traceState?: string
}

/** A row as read, in the same words. */
function shownRow(row: Row): object {
  const text = (name: string): string => row[name] as string
  const json = (name: string): unknown[] => settled(attributesOf(text(name)))
  return {
    traceId: row['TraceId'],
    spanId: row['SpanId'],
    parent: row['ParentSpanId'],
    state: row['TraceState'],
    name: row['SpanName'],
    kind: row['SpanKind'],
    start: String(row['Timestamp']),
    duration: String(row['Duration']),
    status: row['StatusCode'],
    message: row['StatusMessage'],
    resource: json('ResourceAttributes'),
    scope: [row['ScopeName'], row['ScopeVersion'], json('ScopeAttributes')],
    attributes: json('SpanAttributes'),
    events: notes(text('Events')).map((event) => ({
      at: textOf(event, 'time_unix_nano'),
      name: textOf(event, 'name'),
      attributes: mapIn(event),
    })),
    links: notes(text('Links')).map((link) => ({
      at: `${textOf(link, 'trace_id')} ${textOf(link, 'span_id')}`,
      name: textOf(link, 'trace_state'),
      attributes: mapIn(link),
    })),
    meaning: [row['Operation'], row['RequestModel'], row['RunId'], row['ModelCall']],
    tokens: TOKENS.map((name) => String(row[name] as bigint)),
  }
}

function notes(json: string): KeyValue[][] {
  const [list] = attributesOf(`{"list":${json}}`)
  const { values = [] } = (list?.value?.['arrayValue'] ?? {}) as { values?: AnyValue[] }
  return values.map((value) => (value['kvlistValue'] as { values: KeyValue[] }).values)
}

function textOf(note: readonly KeyValue[], key: string): string {
  return JSON.stringify(note.find((one) => one.key === key)?.value?.['stringValue'])
}

function mapIn(note: readonly KeyValue[]): unknown[] {
  const found = note.find(({ key }) => key === 'attributes')?.value?.['kvlistValue']
  return settled((found as { values?: KeyValue[] } | undefined)?.values)
}

const value = fc.letrec<{ value: AnyValue; list: AnyValue; map: AnyValue }>((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.constant({}),
    fc.string({ unit: 'binary' }).map((stringValue) => ({ stringValue })),
    fc.boolean().map((boolValue) => ({ boolValue })),
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((n) => ({ intValue: String(n) })),
    fc.double().map((n) => ({
      doubleValue: Object.is(n, -0) ? '-0' : Number.isFinite(n) ? n : String(n),
    })),
    fc.uint8Array().map((bytes) => ({ bytesValue: Buffer.from(bytes).toString('base64') })),
    tie('list'),
    tie('map'),
  ),
  list: fc.array(tie('value'), { maxLength: 4 }).map((values) => ({ arrayValue: { values } })),
  map: fc
    .uniqueArray(fc.tuple(keys(), tie('value')), { maxLength: 4, selector: ([key]) => key })
    .map((pairs) => ({ kvlistValue: { values: pairs.map(([key, value]) => ({ key, value })) } })),
})).value

function keys(): fc.Arbitrary<string> {
  const words = fc.constantFrom('bytesValue', 'doubleValue', 'kvlistValue', 'a.b', '')
  // `__proto__` is data in the file, and lost by JSON.parse's users, of which this test is one.
  return fc.oneof(
    words,
    fc.string().filter((key) => key !== '__proto__' && !/^\d+$/.test(key)),
  )
}

test('parquet: any attribute of any type comes back', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(value, { minLength: 1, maxLength: 6 }), async (values) => {
      const attributes = values.map((value, i) => ({ key: `k${i}`, value }))
      const [object] = await stored([testBatch([{ attributes }])], {}, 'parquet')
      const [row] = await rowsIn(object?.[1] ?? Buffer.of())
      const [{ span } = { span: undefined }] = spansOf([testBatch([{ attributes }])])
      expect(settled(attributesOf(row?.['SpanAttributes'] as string))).toEqual(settled(span?.attributes))
    }),
    { numRuns: 60 },
  )
})
