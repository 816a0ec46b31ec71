import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AttrRange, AttrRef, Batch } from '../../pipeline/batch/batch.ts'
import { EventIds } from '../../pipeline/batch/event-id.ts'
import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { decodeBatch, decodeJsonBatch } from '../../pipeline/batch/otlp-batch.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import { requests } from '../../test/otlp/arbitrary.ts'
import { jsonRequests } from '../../test/otlp/json-arbitrary.ts'
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
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

type Json = Record<string, unknown>

const metaOf = (tenant: string, seq: number) => ({
  signal: 'traces' as const,
  tenant,
  project: 'p',
  principal: '',
  source: 'test',
  receivedAtMs: RECEIVED_MS,
  digest: new Uint8Array(16),
  wal: { seq, row: 0 },
})

function batchOf(resourceSpans: readonly Json[], tenant = 'acme', seq = 7): Batch {
  return known(decodeJsonBatch(Buffer.from(JSON.stringify({ resourceSpans })), metaOf(tenant, seq)))
}

const USD = 1_000_000_000_000n

/** Says of each of its spans something else. */
function known(batch: Batch): Batch {
  const facts = factsOf(batch)
  for (let row = 0; row < batch.rows; row++) {
    const n = batch.meta.wal!.seq * 100 + row
    facts.seq[row] = n * 3
    facts.tokens[row * TOKENS.length] = n * 5
    facts.leaf[row] = n % 3
    facts.sampleRate[row] = n / 8
    facts.cost[row * COSTS.length] = BigInt(n) * USD
    facts.costProvided[row] = n % 2 === 0 ? -1n : BigInt(n) * USD
  }
  return batch
}

const SELECT = `SELECT toString(toUnixTimestamp64Nano(Timestamp)), TraceId, SpanId, ParentSpanId, TraceState, SpanName, SpanKind,
  ServiceName, mapKeys(ResourceAttributes), mapValues(ResourceAttributes), ScopeName, ScopeVersion, mapKeys(SpanAttributes),
  mapValues(SpanAttributes), toString(Duration), StatusCode, StatusMessage,
  arrayMap(t -> toString(toUnixTimestamp64Nano(t)), \`Events.Timestamp\`), \`Events.Name\`,
  arrayMap(m -> arrayZip(mapKeys(m), mapValues(m)), \`Events.Attributes\`), \`Links.TraceId\`, \`Links.SpanId\`,
  \`Links.TraceState\`, arrayMap(m -> arrayZip(mapKeys(m), mapValues(m)), \`Links.Attributes\`), Redactions, Violations,
  lower(hex(EventId)), WalRow, TenantId, RunId, UserId, RequestModel, Seq, InputTokens, ModelCall, SampleRate,
  toString(CostUsd), toString(CostProvidedUsd)`

/** The block as ClickHouse reads it, by the place of its rows in the WAL. */
async function stored(): Promise<unknown[][]> {
  const path = join(folder, 'block.native')
  const bytes = Buffer.concat(block.parts())
  expect(Buffer.concat(block.parts()).equals(bytes)).toBe(true)
  writeFileSync(path, bytes)
  const source = `file(${quoteText(path)}, Native, ${quoteText(block.structure)})`
  expect(await rowsOf(`${IS_SORTED} FROM ${source} SETTINGS max_threads = 1`)).toEqual([[1]])
  return await rowsOf(`${SELECT} FROM ${source} ORDER BY WalSeq, WalRow`)
}

/** toDateTime, the key's third part, goes as the time does until 2106; past it there is no order that we could know. */
const IS_SORTED =
  'WITH groupArray((toString(ServiceName), toString(SpanName), toUnixTimestamp64Nano(Timestamp))) AS keys SELECT keys = arraySort(keys)'

async function rowsOf(sql: string): Promise<unknown[][]> {
  const result = await session.queryAsync(sql, { format: 'JSONCompact' })
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
    row,
    ...meaning(batch, row),
  ]
}

/** A column of each kind that is filled outside of the kernel. */
function meaning(batch: Batch, row: number): unknown[] {
  const facts = factsOf(batch)
  const usd = (units: bigint) => String(units / USD)
  const provided = facts.costProvided[row]!
  return [
    batch.meta.tenant,
    facts.runId.at(row),
    facts.userId.at(row),
    facts.requestModel.at(row),
    facts.seq[row],
    facts.tokens[row * TOKENS.length],
    facts.leaf[row],
    facts.sampleRate[row],
    usd(facts.cost[row * COSTS.length]!),
    provided === -1n ? null : usd(provided),
  ]
}

test('every field of any spans, whole or with some of them dropped, reads back as the readers have it', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.tuple(jsonRequests(RECEIVED_MS), fc.constantFrom('acme', '', 't'.repeat(80))), {
        minLength: 1,
        maxLength: 3,
      }),
      fc.array(fc.boolean(), { maxLength: 6 }),
      async (requests, drops) => {
        const batches = requests.map(([resourceSpans, tenant], seq) => batchOf(resourceSpans, tenant, seq))
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
      const batches = bytes.map((each, seq) => known(decodeBatch(Buffer.from(each), metaOf('acme', seq))))
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
