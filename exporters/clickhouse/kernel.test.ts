import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AttrRange, AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import { requests } from '../../test/otlp/arbitrary.ts'
import { SpanBlock } from './block.ts'
import { fill } from './feed.ts'
import { SpanWriter } from './span-writer.ts'
import { START } from './stage.ts'

// ClickHouse reads what the kernel wrote; what it should be is read from the same batches by the readers in TypeScript.
const RECEIVED_MS = 1_790_000_000_000
const DAY_MS = 86_400_000
let folder: string
let session: Session
const block = new SpanBlock()
const writer = new SpanWriter(block)

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-kernel-'))
  session = new Session(join(folder, 'data'))
})

afterAll(() => {
  session.close()
  rmSync(folder, { recursive: true, force: true })
})

type Json = Record<string, unknown>

const metaOf = (tenant: string) => ({
  signal: 'traces' as const,
  tenant,
  project: 'p',
  principal: '',
  source: 'test',
  receivedAtMs: RECEIVED_MS,
  digest: new Uint8Array(16),
  wal: { seq: 7, row: 0 },
})

function batchOf(resourceSpans: readonly Json[], tenant = 'acme'): Batch {
  return decodeJsonBatch(Buffer.from(JSON.stringify({ resourceSpans })), metaOf(tenant))
}

const SELECT = `SELECT toString(toUnixTimestamp64Nano(Timestamp)), TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind,
  ServiceName, mapKeys(ResourceAttributes), mapValues(ResourceAttributes), ScopeName, ScopeVersion, mapKeys(SpanAttributes),
  mapValues(SpanAttributes), toString(Duration), StatusCode, StatusMessage,
  arrayMap(t -> toString(toUnixTimestamp64Nano(t)), \`Events.Timestamp\`), \`Events.Name\`,
  arrayMap(m -> arrayZip(mapKeys(m), mapValues(m)), \`Events.Attributes\`), \`Links.TraceId\`, \`Links.SpanId\`,
  \`Links.TraceState\`, arrayMap(m -> arrayZip(mapKeys(m), mapValues(m)), \`Links.Attributes\`), Redactions, Violations,
  lower(hex(EventId))`

async function stored(): Promise<unknown[][]> {
  const path = join(folder, 'block.native')
  writeFileSync(path, Buffer.concat(block.parts()))
  const source = `file(${quoteText(path)}, Native, ${quoteText(block.structure)})`
  const result = await session.queryAsync(`${SELECT} FROM ${source}`, { format: 'JSONCompact' })
  return result.json<{ data: unknown[][] }>().data
}

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']
/** ClickHouse's times are signed. */
const int64 = (ns: bigint) => String(BigInt.asIntN(64, ns))
const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function pairs(batch: Batch, { first, end }: AttrRange): [string, string][] {
  return Array.from({ length: end - first }, (_, i) => {
    const ref = (first + i) as AttrRef
    return [batch.key(ref), batch.text(ref)]
  })
}

function expected(batch: Batch): unknown[][] {
  const rows: unknown[][] = []
  for (let row = 0; row < batch.rows; row++) if (batch.isLive(row)) rows.push(expectedRow(batch, row))
  return rows
}

function expectedRow(batch: Batch, row: number): unknown[] {
  const resource = pairs(batch, batch.attrs(row, 'resource'))
  const span = pairs(batch, batch.attrs(row, 'span'))
  const count = (key: string) => Number(span.findLast(([name]) => name === key)?.[1] ?? 0)
  const [redactions, violations] = [count('weir.redactions'), count('weir.violations')]
  const ahead = Number(batch.startNs(row)) / 1e6 - RECEIVED_MS
  if (ahead > DAY_MS) span.push(['weir.clock_ahead_seconds', String(Math.round(ahead / 1000))])
  const range = ({ first, end }: AttrRange) => Array.from({ length: end - first }, (_, i) => first + i)
  const events = range(batch.events(row))
  const links = range(batch.links(row))
  return [
    int64(batch.startNs(row)),
    hex(batch.traceId(row)),
    hex(batch.spanId(row)),
    hex(batch.parentSpanId(row)),
    batch.traceState(row),
    batch.name(row),
    KINDS[batch.kind(row)] ?? 'Unspecified',
    resource.findLast(([key]) => key === 'service.name')?.[1] ?? '',
    resource.map(([key]) => key),
    resource.map(([, value]) => value),
    batch.scopeName(row),
    batch.scopeVersion(row),
    span.map(([key]) => key),
    span.map(([, value]) => value),
    String(batch.durationNs(row)),
    STATUSES[batch.statusCode(row)] ?? 'Unset',
    batch.statusMessage(row),
    events.map((event) => int64(batch.eventTimeNs(event))),
    events.map((event) => batch.eventName(event)),
    events.map((event) => pairs(batch, batch.eventAttrs(event))),
    links.map((link) => hex(batch.linkTraceId(link))),
    links.map((link) => hex(batch.linkSpanId(link))),
    links.map((link) => batch.linkTraceState(link)),
    links.map((link) => pairs(batch, batch.linkAttrs(link))),
    redactions,
    violations,
    new EventIds(batch.meta.tenant)
      .ofSpan(batch.traceId(row), batch.spanId(row), batch.startNs(row))
      .toString('hex'),
  ]
}

const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 20 }).map((each) => each.toWellFormed()),
  fc.nat({ max: 1200 }).map((size) => 'ä'.repeat(size)),
)
const key = fc.oneof(
  fc.constantFrom('gen_ai.system', 'service.name', 'weir.redactions', 'weir.violations', 'n'.repeat(300)),
  text,
)
const value = fc.oneof(
  text.map((stringValue) => ({ stringValue })),
  fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map((int) => ({ intValue: String(int) })),
  fc.integer({ min: 0, max: 20_000 }).map((int) => ({ intValue: String(int) })),
  fc
    .oneof(fc.constantFrom(0.7, -0, 0, 1e21, -1.7976931348623157e308), fc.double())
    .map((double) => ({ doubleValue: Number.isFinite(double) ? double : String(double) })),
  fc.boolean().map((boolValue) => ({ boolValue })),
  fc.uint8Array({ maxLength: 40 }).map((bytes) => ({ bytesValue: Buffer.from(bytes).toString('base64') })),
  fc.array(text).map((all) => ({ arrayValue: { values: all.map((stringValue) => ({ stringValue })) } })),
  fc.constant({}),
)
const counted = fc.record({
  key: fc.constantFrom('weir.redactions', 'weir.violations'),
  value: fc.nat({ max: 99 }).map((int) => ({ intValue: String(int) })),
})
const plain = fc.record({ key: key.filter((name) => !name.startsWith('weir.')), value })
const attributes = fc
  .tuple(fc.array(plain, { maxLength: 6 }), fc.uniqueArray(counted, { selector: (each) => each.key }))
  .map(([some, counts]) => [...some, ...counts])
const id = (size: number) => fc.uint8Array({ minLength: size, maxLength: size }).map(hex)
const time = fc.oneof(
  fc.constant(0n),
  fc.bigInt({ min: 1n, max: 2n ** 62n }),
  fc
    .bigInt({ min: -3n, max: 3n })
    .map((days) => BigInt(RECEIVED_MS) * 1_000_000n + days * 43_200_000_000_000n),
)
const span = fc.record({
  traceId: fc.oneof(id(16), fc.constant('')),
  spanId: fc.oneof(id(8), fc.constant('')),
  parentSpanId: fc.oneof(id(8), fc.constant('')),
  traceState: fc.constantFrom('', 'a=b'),
  name: text,
  kind: fc.integer({ min: 0, max: 7 }),
  startTimeUnixNano: time.map(String),
  endTimeUnixNano: time.map(String),
  attributes,
  status: fc.record({ code: fc.integer({ min: 0, max: 4 }), message: text }),
  events: fc.array(
    fc.record({ timeUnixNano: time.map(String), name: text, attributes: fc.array(plain, { maxLength: 3 }) }),
    { maxLength: 3 },
  ),
  links: fc.array(
    fc.record({
      traceId: id(16),
      spanId: id(8),
      traceState: text,
      attributes: fc.array(plain, { maxLength: 3 }),
    }),
    { maxLength: 2 },
  ),
})
const request = fc.array(
  fc.record({
    resource: fc.record({ attributes: fc.array(fc.record({ key, value }), { maxLength: 4 }) }),
    scopeSpans: fc.array(
      fc.record({
        scope: fc.record({ name: text, version: text }),
        spans: fc.array(span, { maxLength: 4 }),
      }),
      { maxLength: 2 },
    ),
  }),
  { maxLength: 3 },
)

test('every field of any spans, whole or with some of them dropped, reads back as the readers have it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(request, fc.constantFrom('acme', '', 't'.repeat(80))), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.array(fc.boolean(), { maxLength: 6 }),
      async (requests, drops) => {
        const batches = requests.map(([resourceSpans, tenant]) => batchOf(resourceSpans, tenant))
        for (const batch of batches) {
          for (let row = 0; row < batch.rows; row++) if (drops[row] === true) batch.drop(row, 'expired')
        }
        const chunk = fill(block, writer, batches, START)
        const wanted = batches.flatMap(expected)
        expect(chunk.rows).toBe(wanted.length)
        if (wanted.length > 0) expect(await stored()).toEqual(wanted)
      },
    ),
    { numRuns: Number(process.env['FUZZ_COUNT'] ?? 150), endOnFailure: true },
  )
})

test('whatever liberty a sender takes with the wire format', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(requests(), { minLength: 1, maxLength: 3 }), async (bytes) => {
      const batches = bytes.map((each) => decodeBatch(Buffer.from(each), metaOf('acme')))
      fill(block, writer, batches, START)
      const wanted = batches.flatMap(expected)
      if (wanted.length > 0) expect(await stored()).toEqual(wanted)
    }),
    { numRuns: Number(process.env['FUZZ_COUNT'] ?? 100), endOnFailure: true },
  )
})

test.each([10, 300, 70_000])(
  'dictionaries of %i names, one, two and four bytes an index',
  async (distinct) => {
    const names = Array.from({ length: distinct + 50 }, (_, i) => `${i % distinct} ${'x'.repeat(i % 60)}`)
    const batch = batchOf([{ scopeSpans: [{ spans: names.map((name) => ({ name, events: [{ name }] })) }] }])
    fill(block, writer, [batch], START)
    const rows = await stored()
    expect(rows.map((row) => row[5])).toEqual(names)
    expect(rows.map((row) => row[18])).toEqual(names.map((name) => [name]))
    fill(block, writer, [batchOf([{ scopeSpans: [{ spans: [{ name: 'after' }] }] }])], START)
    expect((await stored()).map((row) => row[5])).toEqual(['after'])
  },
)

test('many long names that differ only in the middle do not slow the dictionary down', () => {
  const spans = Array.from({ length: 100_000 }, (_, i) => ({
    name: `POST /api/v1/customers/${i}/orders/checkout/finish`,
  }))
  const batch = batchOf([{ scopeSpans: [{ spans }] }])
  const started = process.cpuUsage()
  fill(block, writer, [batch], START)
  // Quadratic probing takes minutes, so even a busy machine tells them apart.
  expect(process.cpuUsage(started).user / 1e6).toBeLessThan(20)
})
