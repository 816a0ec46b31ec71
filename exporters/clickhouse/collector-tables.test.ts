import { afterAll, beforeAll, expect, test } from 'vitest'
import { startClickHouse, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
let server: TestServer

beforeAll(async () => {
  server = await startClickHouse()
})
afterAll(() => server.close())

const run = (sql: string) => server.session.queryAsync(sql)
const direct = async (sql: string) =>
  (await server.session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data

const MAP = 'Map(LowCardinality(String), String)'
const PAIRS = (of: string) =>
  `${of.replace('Attributes', 'AttributeItems')} Array(String) ALIAS arrayMap(kv -> concat(kv.1, '=', kv.2), CAST(${of}, 'Array(Tuple(String, String))'))`

/**
 * The tables of the collector's clickhouse exporter as of September 2026 (exporter/clickhouseexporter/internal/sqltemplates),
 * with the indexes it makes on a server with and without full text search.
 */
function collectorTables(database: string, indexes: readonly string[]): string[] {
  const columns = [
    'Timestamp DateTime64(9) CODEC(Delta(8), ZSTD(1))',
    ...['TraceId', 'SpanId', 'ParentSpanId', 'TraceState'].map((name) => `${name} String CODEC(ZSTD(1))`),
    ...['SpanName', 'SpanKind', 'ServiceName'].map((name) => `${name} LowCardinality(String) CODEC(ZSTD(1))`),
    `ResourceAttributes ${MAP} CODEC(ZSTD(1))`,
    'ScopeName String CODEC(ZSTD(1))',
    'ScopeVersion String CODEC(ZSTD(1))',
    `SpanAttributes ${MAP} CODEC(ZSTD(1))`,
    'Duration UInt64 CODEC(T64, ZSTD(1))',
    'StatusCode LowCardinality(String) CODEC(ZSTD(1))',
    'StatusMessage String CODEC(ZSTD(1))',
    `Events Nested (Timestamp DateTime64(9), Name LowCardinality(String), Attributes ${MAP}) CODEC(ZSTD(1))`,
    `Links Nested (TraceId String, SpanId String, TraceState String, Attributes ${MAP}) CODEC(ZSTD(1))`,
    PAIRS('ResourceAttributes'),
    PAIRS('SpanAttributes'),
    ...indexes.map((index) => `INDEX ${index}`),
    'INDEX idx_duration Duration TYPE minmax GRANULARITY 1',
    'INDEX idx_lower_span_name lower(SpanName) TYPE tokenbf_v1(32768, 3, 0) GRANULARITY 8',
  ]
  const minMax = 'Start SimpleAggregateFunction(min, DateTime), End SimpleAggregateFunction(max, DateTime)'
  return [
    `CREATE DATABASE ${database}`,
    `CREATE TABLE ${database}.otel_traces (${columns.join(', ')}) ENGINE = MergeTree PARTITION BY toDate(Timestamp)
      PRIMARY KEY (ServiceName, SpanName, toDateTime(Timestamp)) ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)
      TTL toDateTime(Timestamp) + toIntervalDay(3650) SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1`,
    `CREATE TABLE ${database}.otel_traces_trace_id_ts (TraceId String, ${minMax}) ENGINE = MergeTree
      PARTITION BY toStartOfWeek(Start) ORDER BY (TraceId) SETTINGS index_granularity = 8192, ttl_only_drop_parts = 1`,
    `CREATE MATERIALIZED VIEW ${database}.otel_traces_trace_id_ts_mv TO ${database}.otel_traces_trace_id_ts AS
      SELECT TraceId, min(Timestamp) AS Start, max(Timestamp) AS End FROM ${database}.otel_traces WHERE TraceId != '' GROUP BY TraceId`,
    `CREATE VIEW ${database}.theirs AS SELECT ServiceName, count() AS n FROM ${database}.otel_traces GROUP BY ServiceName`,
  ]
}

/** As the collector inserts: by the names of its columns. */
const insert = (
  database: string,
  trace: string,
) => `INSERT INTO ${database}.otel_traces (Timestamp, TraceId, SpanId, ParentSpanId,
  TraceState, SpanName, SpanKind, ServiceName, ResourceAttributes, ScopeName, ScopeVersion, SpanAttributes, Duration, StatusCode,
  StatusMessage, Events.Timestamp, Events.Name, Events.Attributes, Links.TraceId, Links.SpanId, Links.TraceState, Links.Attributes)
  VALUES (now64(9), '${trace}', 'b1', '', '', 'GET /', 'Server', 'shop', {'service.name': 'shop'}, 'lib', '1', {'http.route': '/${trace}'},
  5, 'Ok', '', [now64(9)], ['log'], [{'k': 'v'}], ['c1'], ['d1'], [''], [{}])`

const ROWS = (database: string) =>
  `SELECT * FROM ${database}.otel_traces WHERE ServiceName = 'shop' AND TraceId = 'aa'`

const keys = (type: (of: string) => string) => [
  `idx_res_attr_key mapKeys(ResourceAttributes) TYPE ${type('0.01')}`,
  `idx_span_attr_key mapKeys(SpanAttributes) TYPE ${type('0.01')}`,
]
const bloom = (rate: string) => `bloom_filter(${rate}) GRANULARITY 1`
const full = () => `text(tokenizer = 'array')`

test.each([
  ['bloom', [`idx_trace_id TraceId TYPE ${bloom('0.001')}`, ...keys(bloom)]],
  [
    'text',
    [
      `idx_trace_id TraceId TYPE ${full()}`,
      ...keys(full),
      `idx_span_attr_items SpanAttributeItems TYPE ${full()}`,
    ],
  ],
])(
  "today's tables of the collector (%s indexes) are extended in place: rows, views and inserts go on",
  async (database, indexes) => {
    for (const sql of collectorTables(database, indexes)) await run(sql)
    await run(insert(database, 'aa'))
    const [before = []] = await direct(ROWS(database))
    const exporter = clickhouseMaker.create(
      config.parse({ endpoint: server.url, database, timeout: '10s' }),
      exporterContext('clickhouse'),
    )
    await exporter.start?.()
    try {
      const call = { attributes: [{ key: 'gen_ai.operation.name', value: { stringValue: 'chat' } }] }
      await exporter.deliver?.(testDelivery([testBatch([call, {}], { wal: { seq: 1, row: 0 } })]), NEVER)
      await run(insert(database, 'cc'))
      const [after = []] = await direct(ROWS(database))
      // Every column that was there has its value still; the new ones follow.
      expect(after.slice(0, before.length)).toEqual(before)
      expect(
        await direct(`SELECT TenantId, count() FROM ${database}.otel_traces GROUP BY TenantId ORDER BY 1`),
      ).toEqual([
        ['', 2],
        ['default', 2],
      ])
      expect(await direct(`SELECT sum(n) FROM ${database}.theirs`)).toEqual([[4]])
      expect(await direct(`SELECT count() FROM ${database}.llm_calls`)).toEqual([[1]])
      expect(
        await direct(
          `SELECT TenantId, uniqExact(TraceId) FROM ${database}.otel_traces_trace_id_ts GROUP BY TenantId ORDER BY 1`,
        ),
      ).toEqual([
        ['', 2],
        ['default', 1],
      ])
      expect(
        await direct(
          `SELECT count() FROM ${database}.otel_traces WHERE has(SpanAttributeItems, 'http.route=/cc')`,
        ),
      ).toEqual([[1]])
      const [[ddl] = []] = await direct(
        `SELECT create_table_query FROM system.tables WHERE database = '${database}' AND name = 'otel_traces'`,
      )
      expect(ddl).toMatch(/TTL toDateTime\(Timestamp\) \+ toIntervalDay\(3650\)/)
      expect(ddl).toContain('ORDER BY (ServiceName, SpanName, toDateTime(Timestamp), Timestamp)')
    } finally {
      await exporter.stop?.(NEVER)
    }
  },
)
