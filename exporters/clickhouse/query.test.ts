import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Exporter, QueryRequest } from '../../pipeline/component.ts'
import { exporterContext, testBatch } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 'weir-query-'))
let exporter: Exporter

beforeAll(async () => {
  exporter = clickhouseMaker.create(config.parse({ directory }), exporterContext('clickhouse'))
  await exporter.start?.()
  const traceId = (n: number) => n.toString(16).padStart(32, '0')
  const call = { attributes: [{ key: 'gen_ai.operation.name', value: { stringValue: 'chat' } }] }
  await exporter.consume(testBatch([{ traceId: traceId(1), ...call }, {}, {}], { tenant: 'acme' }), NEVER)
  await exporter.consume(testBatch([{ traceId: traceId(2), ...call }, {}], { tenant: "o'neil" }), NEVER)
})

afterAll(async () => {
  await exporter.stop?.(NEVER)
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

function run(sql: string, more: Partial<QueryRequest> = {}) {
  const request = { sql, params: {}, maxRows: 1000, maxBytes: 1 << 20, timeoutMs: 10_000, ...more }
  return exporter.queryable!.query(request, NEVER)
}

const codeOf = async (work: Promise<unknown>) =>
  await work.then(
    (value) => value,
    (error: unknown) => (error as { code?: string }).code ?? error,
  )

describe('a tenant', () => {
  test.each([
    ['the table', 'SELECT count() FROM otel_traces'],
    ['under an alias', "SELECT count() FROM otel_traces AS t WHERE t.SpanName != ''"],
    ['qualified', 'SELECT count() FROM weir.otel_traces'],
    ['a subquery', 'SELECT count() FROM (SELECT * FROM otel_traces)'],
    [
      'a join with itself',
      'SELECT count() FROM otel_traces AS a JOIN otel_traces AS b ON a.EventId = b.EventId',
    ],
    ['a union', 'SELECT sum(n) FROM (SELECT count() AS n FROM otel_traces UNION ALL SELECT 0)'],
    ['a common table expression', 'WITH t AS (SELECT * FROM otel_traces) SELECT count() FROM t'],
    ['IN a subquery', 'SELECT countIf(EventId IN (SELECT EventId FROM otel_traces)) FROM otel_traces'],
    ['a scalar subquery', 'SELECT (SELECT count() FROM otel_traces)'],
    ['view()', 'SELECT count() FROM view(SELECT * FROM otel_traces)'],
  ])('sees only its rows in %s', async (_, sql) => {
    expect(Number((await run(sql, { tenant: 'acme' })).rows[0]?.[0])).toBe(3)
    expect(Number((await run(sql, { tenant: "o'neil" })).rows[0]?.[0])).toBe(2)
    expect(Number((await run(sql, { tenant: 'nobody' })).rows[0]?.[0])).toBe(0)
  })

  test.each(['llm_calls', 'agent_runs', 'cost_daily'])('sees only its rows through %s', async (view) => {
    const { rows } = await run(`SELECT DISTINCT TenantId FROM ${view}`, { tenant: 'acme' })
    expect(rows).toEqual([['acme']])
    expect((await run(`SELECT DISTINCT TenantId FROM ${view} ORDER BY 1`)).rows).toEqual([
      ['acme'],
      ["o'neil"],
    ])
  })

  test('sees only its traces in the look-up, and nothing of tables that name no tenant', async () => {
    expect((await run('SELECT count() FROM otel_traces_trace_id_ts', { tenant: 'acme' })).rows).toEqual([
      ['2'],
    ])
    expect((await run('SELECT count() FROM otel_traces_migrations', { tenant: 'acme' })).rows).toEqual([
      ['0'],
    ])
  })
})

describe('refused, with a tenant and without', () => {
  const file = join(directory, 'escaped')
  test.each([
    [
      'a setting in a subquery',
      'SELECT count() FROM (SELECT * FROM otel_traces SETTINGS additional_table_filters = {})',
    ],
    ['a setting', 'SELECT count() FROM otel_traces SETTINGS additional_table_filters = {}'],
    ['merge()', "SELECT count() FROM merge('weir', '^otel_traces$')"],
    ['mergeTreeIndex()', "SELECT count() FROM mergeTreeIndex('weir', 'otel_traces')"],
    ['loop()', "SELECT count() FROM loop('weir', 'otel_traces')"],
    ['remote()', "SELECT count() FROM remote('127.0.0.1', 'weir', 'otel_traces')"],
    ['file()', "SELECT * FROM file('/etc/passwd', 'LineAsString')"],
    ['file() as a scalar', "SELECT file('/etc/passwd')"],
    ['FILE as a scalar', "SELECT `file`('/etc/passwd')"],
    ['url()', "SELECT * FROM url('http://127.0.0.1:1/', 'LineAsString')"],
    ['executable()', "SELECT * FROM executable('id', 'TSV', 'a String')"],
    ['a file as a table', 'SELECT * FROM default.`/etc/passwd`'],
    ['another database', 'SELECT * FROM system.processes'],
    ['another database after IN', 'SELECT 1 IN system.one'],
    ['a table after IN', 'SELECT countIf(EventId IN otel_traces) FROM otel_traces'],
    ['dictGet', "SELECT dictGet('a', 'b', 1)"],
    ['INTO OUTFILE', `SELECT 1 INTO OUTFILE '${file}'`],
    ['INTO OUTFILE after a comment', `SELECT 1 /* ' */ INTO OUTFILE '${file}' -- '`],
    ['a format', 'SELECT 1 FORMAT Null'],
    ['two statements', 'SELECT 1; SELECT 2'],
    ['a second statement behind a quote', "SELECT '\\''; DROP TABLE otel_traces; SELECT ''"],
    ['closing our parentheses', 'SELECT 1) UNION ALL SELECT (1'],
    ['SET', 'SET readonly = 0'],
    ['KILL', 'KILL QUERY WHERE 1'],
    ['INSERT', "INSERT INTO otel_traces (TenantId) VALUES ('acme')"],
    ['DROP', 'DROP TABLE otel_traces'],
    ['SHOW', 'SHOW TABLES'],
    ['EXPLAIN', 'EXPLAIN SELECT 1'],
    ['PARALLEL WITH', 'SELECT 1 PARALLEL WITH SELECT 2'],
    ['nothing', ''],
    ['sleep', 'SELECT sleep(3)'],
  ])('%s', async (_, sql) => {
    for (const tenant of ['acme', undefined]) {
      const outcome = await codeOf(run(sql, tenant === undefined ? {} : { tenant }))
      expect(['QUERY_REFUSED', 'QUERY_FAILED']).toContain(outcome)
    }
    expect(existsSync(file)).toBe(false)
    expect((await run('SELECT count() FROM otel_traces')).rows).toEqual([['5']])
  })
})

describe('limits', () => {
  test('rows: as many as asked for, and it is said that there were more', async () => {
    const cut = await run('SELECT number FROM numbers(100000) ORDER BY number', { maxRows: 10 })
    expect(cut.rows).toHaveLength(10)
    expect(cut.truncated).toBe(true)
    const whole = await run('SELECT number FROM numbers(10)', { maxRows: 10 })
    expect(whole.rows).toHaveLength(10)
    expect(whole.truncated).toBe(false)
  })

  test('bytes', async () => {
    const cut = await run("SELECT repeat('x', 10000) FROM numbers(1000)", { maxBytes: 100_000 })
    expect(cut.truncated).toBe(true)
    expect(JSON.stringify(cut.rows).length).toBeLessThan(110_000)
  })

  test('time', async () => {
    expect(
      await codeOf(run('SELECT sum(cityHash64(number)) FROM numbers(100000000000)', { timeoutMs: 1000 })),
    ).toBe('QUERY_FAILED')
  })

  test('memory', async () => {
    expect(await codeOf(run('SELECT uniqExact(number) FROM numbers(1000000000)'))).toBe('QUERY_FAILED')
  })

  test('an insert goes on after each of them', async () => {
    const batch = testBatch([{}], { tenant: 'after' })
    await exporter.consume(batch, NEVER)
    expect((await run("SELECT count() FROM otel_traces WHERE TenantId = 'after'")).rows).toEqual([['1']])
  })
})

describe('answers', () => {
  test('bind parameters as values', async () => {
    const evil = "x' OR 1 = 1 --\n\n; DROP TABLE otel_traces"
    const params = { text: evil, n: 7, list: ['a', "b'c"] }
    const { rows } = await run('SELECT {text:String}, {n:UInt8}, {list:Array(String)}', { params })
    expect(rows).toEqual([[evil, 7, ['a', "b'c"]]])
  })

  test('name and type their columns, keep the order asked for, quote what JSON cannot hold', async () => {
    const answer = await run(
      "SELECT bitXor(toUInt64('18446744073709551615'), number) AS big, toDecimal64(number, 12) AS usd FROM numbers(3) ORDER BY number DESC",
    )
    expect(answer.columns).toEqual([
      { name: 'big', type: 'UInt64' },
      { name: 'usd', type: 'Decimal(18, 12)' },
    ])
    expect(answer.rows.map(([big]) => big)).toEqual([
      '18446744073709551613',
      '18446744073709551614',
      '18446744073709551615',
    ])
  })

  test('words of SQL are free as values, aliases and comments', async () => {
    const { rows } = await run(
      "SELECT 'SETTINGS FORMAT INTO OUTFILE; it''s' AS `settings; x` -- FORMAT\n /* SETTINGS a = 1 */",
    )
    expect(rows).toEqual([["SETTINGS FORMAT INTO OUTFILE; it's"]])
  })
})
