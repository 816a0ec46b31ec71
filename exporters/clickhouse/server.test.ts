import { readdirSync } from 'node:fs'
import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { startClickHouse, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, exporterContract, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'
import { migrate } from './migrate.ts'
import { openServer } from './server.ts'
import { targetOf } from './target.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
let server: TestServer
const started: Exporter[] = []
let databases = 0

beforeAll(async () => {
  server = await startClickHouse()
})

afterEach(async () => {
  server.intercept = undefined
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
})

afterAll(() => server.close())

function make(more: Record<string, unknown> = {}): Exporter {
  const options = { endpoint: server.url, database: `db_${++databases}`, timeout: '10s', ...more }
  const exporter = clickhouseMaker.create(config.parse(options), exporterContext('clickhouse'))
  started.push(exporter)
  return exporter
}

async function ask(exporter: Exporter, sql: string): Promise<readonly (readonly unknown[])[]> {
  const request = { sql, params: {}, maxRows: 1000, maxBytes: 1 << 20, timeoutMs: 10_000 }
  return (await exporter.queryable?.query(request, NEVER))?.rows ?? []
}

const direct = async (sql: string) =>
  (await server.session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data

exporterContract({
  name: 'clickhouse, server',
  exactlyOnce: true,
  make: () => {
    const exporter = make()
    return Promise.resolve({
      exporter,
      stored: async () => (await ask(exporter, 'SELECT SpanId FROM otel_traces')).map(([id]) => id as string),
      close: () => Promise.resolve(),
    })
  },
})

const two = () => [1, 2].map((seq) => testBatch([{}, {}], { wal: { seq, row: 0 } }))
const isInsert = (sql: string) => sql.startsWith('INSERT') && sql.endsWith('FORMAT Native')

test.each(['before', 'after'] as const)(
  'a connection cut %s the server ran the insert: retry, then each span once',
  async (drop) => {
    const exporter = make()
    await exporter.start?.()
    server.intercept = ({ sql }) => (isInsert(sql) ? { drop } : undefined)
    await expect(exporter.deliver?.(testDelivery(two()), NEVER)).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
      verdict: { do: 'retry' },
    })
    server.intercept = undefined
    await exporter.deliver?.(testDelivery(two(), { attempt: 1 }), NEVER)
    expect(await ask(exporter, 'SELECT count(), uniqExact(WalSeq, WalRow) FROM otel_traces')).toEqual([
      ['4', '4'],
    ])
  },
)

test('a token that was used before by other spans loses nothing', async () => {
  const exporter = make()
  await exporter.start?.()
  await exporter.deliver?.(testDelivery(two()), NEVER)
  const others = [1, 2].map((seq) =>
    testBatch([{ spanId: `00000000000000a${seq}` }, {}], { wal: { seq, row: 0 } }),
  )
  await exporter.deliver?.(testDelivery(others), NEVER)
  const rows = await ask(exporter, "SELECT count() FROM otel_traces WHERE SpanId LIKE '%a_'")
  expect(rows).toEqual([['2']])
})

test.each([
  ['memory', 500, 241, 'EXPORT_UNAVAILABLE', 'retry'],
  ['a missing table', 404, 60, 'EXPORT_UNAVAILABLE', 'retry'],
  ['a wrong password', 401, 516, 'EXPORT_UNAVAILABLE', 'retry'],
  ['too many parts', 500, 252, 'EXPORT_UNAVAILABLE', 'retry'],
  ['a value that a column cannot hold', 400, 53, 'EXPORT_REJECTED', 'reject'],
  ['data that cannot be read', 400, 33, 'EXPORT_REJECTED', 'reject'],
] as const)('%s: %i with code %i is %s, %s', async (_, status, code, fault, verdict) => {
  const exporter = make()
  await exporter.start?.()
  server.intercept = ({ sql }) => (isInsert(sql) ? { status, code, message: 'as the test says' } : undefined)
  await expect(exporter.deliver?.(testDelivery(two()), NEVER)).rejects.toMatchObject({
    code: fault,
    verdict: { do: verdict },
  })
})

test('no server: start says where, and is retryable', async () => {
  const exporter = make({ endpoint: 'http://127.0.0.1:1' })
  await expect(exporter.start?.()).rejects.toMatchObject({ code: 'START_FAILED' })
})

test('an aborted delivery ends at once, and the next completes it', async () => {
  const exporter = make()
  await exporter.start?.()
  const abort = new AbortController()
  server.intercept = ({ sql }) => {
    if (isInsert(sql)) abort.abort()
    return undefined
  }
  await expect(exporter.deliver?.(testDelivery(two()), abort.signal)).rejects.toMatchObject({
    code: 'EXPORT_UNAVAILABLE',
  })
  await exporter.deliver?.(testDelivery(two(), { attempt: 1 }), NEVER)
  expect(await ask(exporter, 'SELECT count(), uniqExact(WalSeq, WalRow) FROM otel_traces')).toEqual([
    ['4', '4'],
  ])
})

test('the block is the body, its settings stand in the statement, a query is read-only by the request', async () => {
  const exporter = make({ compress: 'gzip', username: 'writer' })
  await exporter.start?.()
  await exporter.deliver?.(
    testDelivery([testBatch([{ name: "x'\n\n; DROP TABLE otel_traces" }], { wal: { seq: 1, row: 0 } })]),
    NEVER,
  )
  expect(await ask(exporter, 'SELECT SpanName FROM otel_traces')).toEqual([
    ["x'\n\n; DROP TABLE otel_traces"],
  ])
  const insert = server.requests.findLast(({ sql }) => isInsert(sql))
  expect(insert?.bodyBytes).toBeGreaterThan(500)
  expect(insert?.sql).toContain('async_insert = 0')
  expect(insert?.sql).toContain("insert_deduplication_token = 'test-1-1'")
  expect(insert?.sql).not.toContain('DROP')
  expect(insert?.user).toBe('writer')
  expect(server.requests.at(-1)?.settings).toMatchObject({ readonly: '1', max_result_rows: '1001' })
})

test('many daemons may migrate at once', async () => {
  const target = targetOf(config.parse({ endpoint: server.url, database: 'raced' }))
  const open = () =>
    openServer({
      url: server.url,
      username: 'default',
      password: '',
      database: 'raced',
      timeoutMs: 10_000,
      compress: 'none',
      tls: undefined,
    })
  const connections = await Promise.all([open(), open(), open(), open()])
  await Promise.all(connections.map((connection) => migrate(connection, target, exporterContext('x').log)))
  await Promise.all(connections.map((connection) => connection.close()))
  const versions = await direct(
    'SELECT Version FROM raced.otel_traces_migrations GROUP BY Version ORDER BY Version',
  )
  const files = readdirSync(new URL('migrations/', import.meta.url)).filter((name) => name.endsWith('.sql'))
  expect(versions.flat()).toEqual(files.map((name) => Number(name.slice(0, 4))).sort((a, b) => a - b))
  const before = server.requests.length
  const exporter = make({ database: 'raced' })
  await exporter.start?.()
  expect(
    server.requests
      .slice(before)
      .filter(({ sql }) => /^(ALTER|CREATE (OR|TABLE IF NOT EXISTS `raced`.`otel_traces` ))/.test(sql)),
  ).toEqual([])
  await exporter.deliver?.(testDelivery(two()), NEVER)
  expect(await ask(exporter, 'SELECT count() FROM llm_calls')).toEqual([['0']])
})

/** As the collector's exporter made it before `Items` columns and the SimpleAggregateFunction look-up. */
const COLLECTOR = [
  'CREATE DATABASE theirs',
  `CREATE TABLE theirs.otel_traces (Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1)), TraceId String, SpanId String, ParentSpanId String,
    TraceState String, SpanName LowCardinality(String), SpanKind LowCardinality(String), ServiceName LowCardinality(String),
    ResourceAttributes Map(LowCardinality(String), String), ScopeName String, ScopeVersion String, SpanAttributes Map(LowCardinality(String), String),
    Duration UInt64, StatusCode LowCardinality(String), StatusMessage String,
    Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes Map(LowCardinality(String), String)),
    Links Nested (TraceId String, SpanId String, TraceState String, Attributes Map(LowCardinality(String), String)),
    INDEX idx_trace_id TraceId TYPE bloom_filter(0.001) GRANULARITY 1
    ) ENGINE = MergeTree PARTITION BY toDate(Timestamp) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp)) SETTINGS ttl_only_drop_parts = 1`,
  `CREATE TABLE theirs.otel_traces_trace_id_ts (TraceId String, Start DateTime, End DateTime) ENGINE = MergeTree PARTITION BY toDate(Start) ORDER BY (TraceId, Start)`,
  `CREATE MATERIALIZED VIEW theirs.otel_traces_trace_id_ts_mv TO theirs.otel_traces_trace_id_ts AS
    SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM theirs.otel_traces WHERE TraceId != '' GROUP BY TraceId`,
  `INSERT INTO theirs.otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName) VALUES (now64(9), 'aa', 'bb', 'old', 'theirs')`,
]

test("an existing collector's table is extended in place and still takes the collector's inserts", async () => {
  for (const statement of COLLECTOR) await server.session.queryAsync(statement)
  const exporter = make({ database: 'theirs' })
  await exporter.start?.()
  await exporter.deliver?.(testDelivery(two()), NEVER)
  await server.session.queryAsync(
    "INSERT INTO theirs.otel_traces (Timestamp, TraceId, SpanId, SpanName, ServiceName) VALUES (now64(9), 'cc', 'dd', 'new', 'theirs')",
  )
  expect(
    await ask(exporter, 'SELECT TenantId, count() FROM otel_traces GROUP BY TenantId ORDER BY TenantId'),
  ).toEqual([
    ['', '2'],
    ['default', '4'],
  ])
  expect(
    await ask(
      exporter,
      'SELECT TenantId, uniqExact(TraceId) FROM otel_traces_trace_id_ts GROUP BY TenantId ORDER BY TenantId',
    ),
  ).toEqual([
    ['', '2'],
    ['default', '1'],
  ])
  const [[sort, partition] = []] = await direct(
    "SELECT sorting_key, partition_key FROM system.tables WHERE database = 'theirs' AND name = 'otel_traces'",
  )
  expect([sort, partition]).toEqual(['ServiceName, SpanName, toDateTime(Timestamp)', 'toDate(Timestamp)'])
})

test('without create_schema nothing is made, and what is missing is named', async () => {
  await server.session.queryAsync('CREATE DATABASE bare')
  const exporter = make({ database: 'bare', create_schema: false })
  await expect(exporter.start?.()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining('lacks the columns Timestamp') as string,
  })
  expect(await direct("SELECT count() FROM system.tables WHERE database = 'bare'")).toEqual([[0]])
})
