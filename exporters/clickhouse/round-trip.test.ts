import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { AttrRange, Batch } from '../../pipeline/batch/batch.ts'
import { COST_STATUS, COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import {
  batchOfJson,
  exporterContext,
  RECEIVED_AT_MS,
  testBatch,
  testDelivery,
} from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 'weir-round-trip-'))
let exporter: Exporter
let nextSeq = 1

beforeAll(async () => {
  exporter = clickhouseMaker.create(config.parse({ directory }), exporterContext('clickhouse'))
  await exporter.start?.()
})

afterAll(async () => {
  await exporter.stop?.(NEVER)
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function rows(
  sql: string,
  params: Record<string, string | number> = {},
): Promise<Record<string, unknown>[]> {
  const request = { sql, params, maxRows: 100_000, maxBytes: 1 << 28, timeoutMs: 20_000 }
  const answer = await exporter.queryable?.query(request, NEVER)
  return (answer?.rows ?? []).map((row) =>
    Object.fromEntries(row.map((value, i) => [answer?.columns[i]?.name ?? '', value])),
  )
}

/** Delivers under a WAL sequence of its own and reads back what was stored, in the batch's order. */
async function stored(
  batch: (wal: { seq: number; row: number }) => Batch,
): Promise<{ batch: Batch; rows: Record<string, unknown>[] }> {
  const seq = nextSeq++
  const made = batch({ seq, row: 0 })
  await exporter.deliver?.(testDelivery([made], { from: seq, to: seq, token: `round-trip-${seq}` }), NEVER)
  const found = await rows(
    `SELECT *, toUnixTimestamp64Nano(Timestamp) AS Nanos, lower(hex(EventId)) AS Id, toString(CostUsd) AS Usd,
      arrayMap(t -> toString(toUnixTimestamp64Nano(t)), Events.Timestamp) AS EventNanos FROM otel_traces WHERE WalSeq = {seq:UInt64} ORDER BY WalRow`,
    { seq },
  )
  return { batch: made, rows: found }
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString('hex')

function mapOf(batch: Batch, range: AttrRange): Record<string, string> {
  const map: Record<string, string> = {}
  for (let ref = range.first; ref < range.end; ref++) map[batch.key(ref as never)] = batch.text(ref as never)
  return map
}

const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']

/** The row by the batch's own accessors: slow, and a different way than the writer's. */
function expectedRow(batch: Batch, row: number): Record<string, unknown> {
  const facts = factsOf(batch)
  const resource = mapOf(batch, batch.attrs(row, 'resource'))
  const events = batch.events(row)
  const links = batch.links(row)
  const each = <T>({ first, end }: AttrRange, f: (i: number) => T) =>
    Array.from({ length: end - first }, (_, i) => f(first + i))
  const usd = (units: bigint) => Number(units) / 1e12
  return {
    Nanos: String(BigInt.asIntN(64, batch.startNs(row))),
    TraceId: hex(batch.traceId(row)),
    SpanId: hex(batch.spanId(row)),
    ParentSpanId: hex(batch.parentSpanId(row)),
    TraceState: batch.traceState(row),
    SpanName: batch.name(row),
    SpanKind: KINDS[batch.kind(row)],
    ServiceName: resource['service.name'] ?? '',
    ResourceAttributes: resource,
    ScopeName: batch.scopeName(row),
    ScopeVersion: batch.scopeVersion(row),
    SpanAttributes: mapOf(batch, batch.attrs(row, 'span')),
    Duration: String(batch.durationNs(row)),
    StatusCode: ['Unset', 'Ok', 'Error'][batch.statusCode(row)],
    StatusMessage: batch.statusMessage(row),
    EventNanos: each(events, (i) => String(batch.eventTimeNs(i))),
    'Events.Name': each(events, (i) => batch.eventName(i)),
    'Events.Attributes': each(events, (i) => mapOf(batch, batch.eventAttrs(i))),
    'Links.TraceId': each(links, (i) => hex(batch.linkTraceId(i))),
    'Links.SpanId': each(links, (i) => hex(batch.linkSpanId(i))),
    'Links.TraceState': each(links, (i) => batch.linkTraceState(i)),
    'Links.Attributes': each(links, (i) => mapOf(batch, batch.linkAttrs(i))),
    TenantId: batch.meta.tenant,
    ProjectId: batch.meta.project,
    RunId: facts.runId.at(row),
    Seq: facts.seq[row],
    SessionId: facts.sessionId.at(row),
    UserId: facts.userId.at(row),
    AgentName: facts.agentName.at(row),
    ToolName: facts.toolName.at(row),
    Operation: facts.operation.at(row),
    ModelCall: facts.leaf[row],
    Provider: facts.provider.at(row),
    RequestModel: facts.requestModel.at(row),
    ResponseModel: facts.responseModel.at(row),
    PriceModel: facts.priceModel.at(row),
    ServiceTier: facts.serviceTier.at(row),
    FinishReason: facts.finishReason.at(row),
    UsageSemantics: facts.usageSemantics.at(row),
    CostStatus: COST_STATUS[facts.costStatus[row] ?? 0],
    CostReason: facts.costReason.at(row),
    PriceVersion: facts.priceVersion.at(row),
    PriceHints: facts.priceHints.get(row)?.geo ?? '',
    TimeToFirstTokenMs: facts.timeToFirstTokenMs[row],
    SampleRate: facts.sampleRate[row],
    ...Object.fromEntries(TOKENS.map((name, i) => [name, facts.tokens[row * TOKENS.length + i]])),
    ...Object.fromEntries(COSTS.map((name, i) => [name, usd(facts.cost[row * COSTS.length + i] ?? 0n)])),
    CostProvidedUsd: facts.costProvided[row] === -1n ? null : usd(facts.costProvided[row] ?? 0n),
    WalSeq: String(batch.meta.wal?.seq),
    WalRow: (batch.meta.wal?.row ?? 0) + row,
  }
}

function comparable(
  found: Record<string, unknown>,
  expected: Record<string, unknown>,
): Record<string, unknown> {
  return Object.fromEntries(
    Object.keys(expected).map((name) => [
      name,
      name.endsWith('Usd') && found[name] !== null ? Number(found[name]) : found[name],
    ]),
  )
}

function check({ batch, rows }: { batch: Batch; rows: Record<string, unknown>[] }): void {
  const live = Array.from({ length: batch.rows }, (_, row) => row).filter((row) => batch.isLive(row))
  expect(rows.length).toBe(live.length)
  for (const [i, row] of live.entries()) {
    const expected = expectedRow(batch, row)
    expect(comparable(rows[i] ?? {}, expected)).toEqual(expected)
  }
}

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } })

const FULL_SPAN = {
  traceState: 'vendor=1',
  parentSpanId: '00000000000000ff',
  name: 'chat gpt-4o',
  kind: 3,
  status: { code: 2, message: 'rate limited' },
  attributes: [
    text('gen_ai.operation.name', 'chat'),
    text('gen_ai.provider.name', 'openai'),
    text('gen_ai.request.model', 'gpt-4o'),
    text('server.address', 'eu.api.openai.com'),
    text('gen_ai.conversation.id', 's-1'),
    text('user.id', 'u-1'),
    text('agent.run.id', 'run-1'),
    { key: 'gen_ai.usage.input_tokens', value: { intValue: '1200' } },
    { key: 'gen_ai.usage.output_tokens', value: { intValue: '34' } },
    { key: 'double', value: { doubleValue: 0.1 } },
    { key: 'large', value: { intValue: '-9223372036854775808' } },
    { key: 'yes', value: { boolValue: true } },
    { key: 'bytes', value: { bytesValue: 'AP8=' } },
    { key: 'list', value: { arrayValue: { values: [{ stringValue: 'a' }, { intValue: '1' }] } } },
    { key: 'map', value: { kvlistValue: { values: [text('x.y', 'z')] } } },
    { key: 'nothing', value: {} },
  ],
  events: [
    {
      timeUnixNano: '1763700000000000001',
      name: 'exception',
      attributes: [text('exception.type', 'E'), text('exception.message', 'm')],
    },
    { timeUnixNano: '0', name: '', attributes: [] },
  ],
  links: [
    {
      traceId: '0af7651916cd43dd8448eb211c80319d',
      spanId: '00000000000000aa',
      traceState: 'l=1',
      attributes: [text('why', 'retry')],
    },
  ],
}

test('every field of a span comes back', async () => {
  check(
    await stored((wal) =>
      testBatch([FULL_SPAN, {}, { endTimeUnixNano: '1' }, FULL_SPAN], { wal, project: 'p1' }),
    ),
  )
})

test('absent ids and times come back as empty and zero', async () => {
  const bare = {
    resourceSpans: [
      { scopeSpans: [{ spans: [{ name: 'bare', startTimeUnixNano: String(RECEIVED_AT_MS * 1e6) }] }] },
    ],
  }
  check(await stored((wal) => batchOfJson(bare, { wal })))
})

test('resources and scopes are kept apart', async () => {
  const span = (spanId: string) => ({
    traceId: '0af7651916cd43dd8448eb211c80319c',
    spanId,
    name: 's',
    startTimeUnixNano: String(RECEIVED_AT_MS * 1e6),
  })
  const resourceSpans = ['a', 'b', 'a'].map((name, i) => ({
    resource: { attributes: [text('service.name', name), text('only', `${i}`)] },
    scopeSpans: [
      { scope: { name: `scope ${i}`, version: '1' }, spans: [span(`000000000000001${i}`)] },
      { scope: {}, spans: [span(`000000000000002${i}`)] },
    ],
  }))
  check(
    await stored((wal) =>
      batchOfJson(
        { resourceSpans: [...resourceSpans, { scopeSpans: [{ spans: [span('0000000000000030')] }] }] },
        { wal },
      ),
    ),
  )
})

test('hostile text comes back byte for byte', async () => {
  const evil = [
    '"a"\n"b"\n\nDROP TABLE otel_traces;',
    "'; DROP TABLE otel_traces; --",
    'a\0b',
    '\\N\t\\',
    '{x:String}',
    `$$ \` " é 漢 😀`,
    '\n\n\n',
  ]
  const spans = evil.map((value, i) => ({
    name: value,
    attributes: [text(value, value), text(`key ${i}`, value)],
    status: { message: value },
  }))
  check(
    await stored((wal) =>
      testBatch([...spans, { attributes: [text('prompt', 'é\n\n'.repeat(262_144))] }], { wal }),
    ),
  )
})

test('bytes that are no UTF-8 are stored as they are', async () => {
  const { rows: found } = await stored((wal) => {
    const batch = testBatch([{ name: 'QQQQ', attributes: [text('k', 'QQQQ')] }], { wal })
    const bytes = Buffer.from(batch.encode())
    for (let at = bytes.indexOf('QQQQ'); at >= 0; at = bytes.indexOf('QQQQ', at))
      bytes.set([0xff, 0xfe, 0x00, 0x80], at)
    return decodeBatch(bytes, batch.meta)
  })
  expect(found).toHaveLength(1)
  const [row] = await rows(
    `SELECT hex(SpanName) AS n, hex(SpanAttributes['k']) AS v FROM otel_traces WHERE WalSeq = {seq:UInt64}`,
    { seq: nextSeq - 1 },
  )
  expect(row).toEqual({ n: 'FFFE0080', v: 'FFFE0080' })
})

test('an edited and thinned batch is stored as edited', async () => {
  const { batch, rows: found } = await stored((wal) => {
    const made = testBatch([FULL_SPAN, {}, FULL_SPAN], { wal })
    factsOf(made)
    made.drop(1, 'sampled')
    made.set(2, keyId('added'), 'by a processor')
    made.set(2, keyId('weir.redactions'), 3)
    made.setName(2, 'renamed')
    return made
  })
  expect(found.map((row) => row['WalRow'])).toEqual([0, 2])
  expect(found[1]?.['SpanName']).toBe('renamed')
  expect(found[1]?.['SpanAttributes']).toMatchObject({ added: 'by a processor', yes: 'true' })
  expect(found[1]?.['Redactions']).toBe(3)
  expect(found[1]?.['SessionId']).toBe('s-1')
  expect(batch.live).toBe(2)
})

test('costs are exact to the last of 12 digits', async () => {
  const { rows: found } = await stored((wal) => {
    const made = testBatch([{}, {}], { wal })
    const facts = factsOf(made)
    facts.cost[0] = 1n
    facts.cost[COSTS.length] = 999_999_123_456_789_012n
    facts.costProvided[1] = 5_000_000_000_000n
    facts.costStatus[1] = COST_STATUS.indexOf('computed')
    return made
  })
  expect(found.map((row) => row['Usd'])).toEqual(['0.000000000001', '999999.123456789012'])
  expect(found.map((row) => row['CostProvidedUsd'])).toEqual([null, '5'])
  expect(found.map((row) => row['CostStatus'])).toEqual(['none', 'computed'])
})

test('EventId is the hash that its documentation says', async () => {
  await stored((wal) => testBatch([{}, FULL_SPAN], { wal, tenant: 'acme' }))
  const [row] = await rows(
    `SELECT count() AS n, countIf(EventId != substring(SHA256(concat(TenantId, '\\0', unhex(TraceId), unhex(SpanId),
      reinterpretAsFixedString(toUInt64(toUnixTimestamp64Nano(Timestamp))))), 1, 16)) AS wrong FROM otel_traces WHERE WalSeq = {seq:UInt64}`,
    { seq: nextSeq - 1 },
  )
  expect(row).toEqual({ n: '2', wrong: '0' })
})

const ns = (ms: number) => String(BigInt(ms) * 1_000_000n)
const HOUR_MS = 3_600_000

test('a span past the TTL on arrival is dropped as expired', async () => {
  const aged = clickhouseMaker.create(
    config.parse({ directory, database: 'weir_ttl', ttl: '8760h' }),
    exporterContext('clickhouse/ttl'),
  )
  await aged.start?.()
  try {
    const now = Date.now()
    const batch = testBatch(
      [8761, 8759, 0].map((hours) => ({ startTimeUnixNano: ns(now - hours * HOUR_MS) })),
      { receivedAtMs: now },
    )
    await aged.consume(batch, NEVER)
    expect(batch.drops()).toEqual(new Map([['expired', 1]]))
    const request = { params: {}, maxRows: 10, maxBytes: 1e6, timeoutMs: 10_000 }
    const sql = 'SELECT WalRow FROM otel_traces ORDER BY WalRow'
    expect((await aged.queryable?.query({ sql, ...request }, NEVER))?.rows).toEqual([[1], [2]])
  } finally {
    await aged.stop?.(NEVER)
  }
})

test('a start far ahead of the receipt is annotated', async () => {
  const { rows: found } = await stored((wal) =>
    testBatch(
      [25, 23].map((hours) => ({ startTimeUnixNano: ns(RECEIVED_AT_MS + hours * HOUR_MS) })),
      { wal },
    ),
  )
  const notes = found.map((row) => row['SpanAttributes'] as Record<string, string>)
  expect(notes.map((map) => map['weir.clock_ahead_seconds'])).toEqual(['90000', undefined])
})

test('a range over 150 days is one insert', async () => {
  const day = (i: number) => String(BigInt(RECEIVED_AT_MS - i * 86_400_000) * 1_000_000n)
  const { rows: found } = await stored((wal) =>
    testBatch(
      Array.from({ length: 150 }, (_, i) => ({ startTimeUnixNano: day(i) })),
      { wal },
    ),
  )
  expect(found).toHaveLength(150)
})

test('more rows than a block holds, and a resource that would fill memory, go in by several inserts', async () => {
  const large = { attributes: [text('service.name', 'large'), text('blob', 'x'.repeat(1 << 20))] }
  const seq = nextSeq++
  const batches = [
    testBatch(
      Array.from({ length: 80 }, () => ({})),
      { wal: { seq, row: 0 } },
      large,
    ),
  ]
  await exporter.deliver?.(testDelivery(batches, { from: seq, to: seq, token: 'wide' }), NEVER)
  const [row] = await rows(
    'SELECT count() AS n, uniqExact(WalRow) AS u FROM otel_traces WHERE WalSeq = {seq:UInt64}',
    { seq },
  )
  expect(row).toEqual({ n: '80', u: '80' })
})

test('the look-up by trace id knows tenant and time', async () => {
  await stored((wal) => testBatch([{ traceId: 'abcdabcdabcdabcdabcdabcdabcdabcd' }], { wal, tenant: 'acme' }))
  const found = await rows(
    `SELECT TenantId, toUnixTimestamp(min(Start)) AS s FROM otel_traces_trace_id_ts WHERE TraceId = 'abcdabcdabcdabcdabcdabcdabcdabcd' GROUP BY TenantId`,
  )
  expect(found).toEqual([{ TenantId: 'acme', s: Math.floor(RECEIVED_AT_MS / 1000) }])
})

const FOLDER = join(import.meta.dirname, '../../../shared/data/traces/otlp')

test('real traces of agents come back, and every view runs on them', async (ctx) => {
  if (!existsSync(FOLDER)) ctx.skip('../shared/data/traces/otlp is not there')
  const files = readdirSync(FOLDER).filter((file) => file.endsWith('.otlp.json.gz'))
  expect(files.length).toBeGreaterThan(3)
  for (const file of files) {
    const request: unknown = JSON.parse(gunzipSync(readFileSync(join(FOLDER, file))).toString())
    const requests = Array.isArray(request) ? request : [request]
    for (const one of requests) check(await stored((wal) => batchOfJson(one, { wal, tenant: 'real' })))
  }
  for (const view of ['llm_calls', 'tool_calls', 'agent_runs', 'cost_daily', 'violations']) {
    const [row] = await rows(`SELECT count() AS n FROM ${view} WHERE TenantId = 'real'`)
    if (view !== 'violations') expect(Number(row?.['n']), view).toBeGreaterThan(0)
  }
})
