import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import { startClickHouse, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { renderDdl, type DdlOptions } from './ddl.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal

/** A cluster of one shard, which is this server: chdb runs its own shards without a connection. */
const CLUSTER = `<clickhouse><tcp_port>9000</tcp_port><remote_servers><c><shard><replica>
  <host>127.0.0.1</host><port>9000</port></replica></shard></c></remote_servers></clickhouse>`

let server: TestServer
const started: Exporter[] = []

beforeAll(async () => {
  server = await startClickHouse(0, CLUSTER)
})

afterEach(async () => {
  server.intercept = undefined
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
})

afterAll(() => server.close())

const render = (more: Partial<DdlOptions> = {}) =>
  renderDdl({
    database: 'made',
    table: 'otel_traces',
    replicated: false,
    distributed: false,
    ttlSeconds: 0,
    strict: false,
    from: 1,
    ...more,
  })

const statementsOf = (text: string) =>
  text
    .replace(/^--.*$/gm, '')
    .split(/;\s*$/m)
    .map((sql) => sql.trim())
    .filter((sql) => sql !== '')

async function apply(text: string): Promise<void> {
  for (const sql of statementsOf(text)) await server.session.queryAsync(sql)
}

const direct = async (sql: string) =>
  (await server.session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data

function make(database: string): Exporter {
  const options = { endpoint: server.url, database, create_schema: false, timeout: '10s' }
  const exporter = clickhouseMaker.create(config.parse(options), exporterContext('clickhouse'))
  started.push(exporter)
  return exporter
}

const call = { attributes: [{ key: 'gen_ai.operation.name', value: { stringValue: 'chat' } }] }
const two = () =>
  [1, 2].map((seq) =>
    testBatch([{ traceId: seq.toString(16).padStart(32, '0'), ...call }, {}], { wal: { seq, row: 0 } }),
  )
const isInsert = (sql: string) => sql.startsWith('INSERT') && sql.endsWith('FORMAT Native')

/** Delivers a range whose first answer is lost. */
async function deliverTwice(exporter: Exporter): Promise<void> {
  await exporter.start?.()
  server.intercept = ({ sql }) => (isInsert(sql) ? { drop: 'after' } : undefined)
  await expect(exporter.deliver?.(testDelivery(two()), NEVER)).rejects.toMatchObject({
    verdict: { do: 'retry' },
  })
  server.intercept = undefined
  await exporter.deliver?.(testDelivery(two(), { attempt: 1 }), NEVER)
}

test('what is printed makes the tables; the exporter makes nothing and stores each span once', async () => {
  const text = await render({ ttlSeconds: 3600 * 24 * 3650, strict: true })
  await apply(text)
  await apply(text)
  const before = server.requests.length
  await deliverTwice(make('made'))
  expect(server.requests.slice(before).filter(({ sql }) => /^(CREATE|ALTER)/.test(sql))).toEqual([])
  expect(await direct('SELECT count(), uniqExact(WalSeq, WalRow) FROM made.otel_traces')).toEqual([[4, 4]])
  expect(await direct('SELECT count() FROM made.llm_calls')).toEqual([[2]])
  expect(await direct('SELECT uniqExact(TraceId) FROM made.otel_traces_trace_id_ts')).toEqual([[3]])
  const [[ddl] = []] = await direct(
    "SELECT create_table_query FROM system.tables WHERE database = 'made' AND name = 'otel_traces'",
  )
  expect(ddl).toMatch(/TTL toDateTime\(Timestamp\) \+ toIntervalSecond\(315360000\)/)
  expect(ddl).toContain('fsync_after_insert = 1')
})

test('Distributed over a local table: synchronous, exactly once through a lost answer, views over all shards', async () => {
  const text = await render({ database: 'spread', cluster: 'c', distributed: true })
  // Without a Keeper there is no ON CLUSTER.
  const alone = text.replaceAll(" ON CLUSTER 'c'", '')
  expect(alone).not.toBe(text)
  await apply(alone)
  await apply(alone)
  await deliverTwice(make('spread'))
  expect(server.requests.findLast(({ sql }) => isInsert(sql))?.sql).toContain(
    'distributed_foreground_insert = 1',
  )
  for (const table of ['otel_traces', 'otel_traces_local']) {
    expect(await direct(`SELECT count(), uniqExact(WalSeq, WalRow) FROM spread.${table}`)).toEqual([[4, 4]])
  }
  expect(await direct('SELECT count() FROM spread.llm_calls')).toEqual([[2]])
  expect(await direct('SELECT uniqExact(TraceId) FROM spread.otel_traces_trace_id_ts')).toEqual([[3]])
})

test('rows of a Distributed table that were lost are inserted again', async () => {
  await apply(
    (await render({ database: 'lost', cluster: 'c', distributed: true })).replaceAll(" ON CLUSTER 'c'", ''),
  )
  const exporter = make('lost')
  await deliverTwice(exporter)
  await server.session.queryAsync(
    'ALTER TABLE lost.otel_traces_local DELETE WHERE WalSeq = 2 SETTINGS mutations_sync = 2',
  )
  await exporter.deliver?.(testDelivery(two(), { attempt: 1 }), NEVER)
  expect(await direct('SELECT count(), uniqExact(WalSeq, WalRow) FROM lost.otel_traces')).toEqual([[4, 4]])
})

describe('for a cluster', () => {
  const forms: [string, Partial<DdlOptions>][] = [
    ['replicated', { cluster: "o'neil", replicated: true }],
    [
      'replicated and distributed',
      { cluster: '{cluster}', replicated: true, distributed: true, ttlSeconds: 60 },
    ],
    ['distributed', { cluster: 'c', distributed: true, strict: true }],
  ]

  test.each(forms)('%s: every statement is ClickHouse, and goes to every server', async (_, form) => {
    const statements = statementsOf(await render(form))
    for (const sql of statements) {
      const [[parsed] = []] = await direct(`SELECT formatQuerySingleLine(${quoteText(sql)})`)
      expect(parsed).toContain('ON CLUSTER')
    }
    const tables = statements.filter((sql) => /ENGINE = (Replicated)?MergeTree/.test(sql))
    // Spans, their look-up, and the copy of the audit log.
    expect(tables).toHaveLength(3)
    for (const sql of tables) {
      expect(/ENGINE = ReplicatedMergeTree\('[^']*\{shard\}[^']*', '\{replica\}'\)/.test(sql)).toBe(
        form.replicated === true,
      )
    }
    const text = statements.join('\n')
    expect(text.includes('non_replicated_deduplication_window')).toBe(form.replicated !== true)
    expect(/[^_]replicated_deduplication_window_seconds = 604800/.test(text)).toBe(form.replicated === true)
    expect(text.match(/ENGINE = Distributed\(/g) ?? []).toHaveLength(form.distributed === true ? 2 : 0)
    expect(text).not.toContain('{{')
  })

  test('an upgrade prints the later migrations only', async () => {
    const text = await render({ from: 5 })
    expect(text).not.toMatch(/CREATE TABLE (?!IF NOT EXISTS `made`\.audit_log)/)
    expect(text).toContain('-- 0008_wide_sums')
  })
})

test('columns that are missing are named, with the command that prints what makes them', async () => {
  await apply(await render({ database: 'older' }))
  await server.session.queryAsync('ALTER TABLE older.otel_traces DROP COLUMN PriceHints')
  await expect(make('older').start?.()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringMatching(/lacks the columns PriceHints.*weir schema clickhouse/) as string,
  })
})
