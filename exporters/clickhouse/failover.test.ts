import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { startClickHouse, type TestRequest, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
let a: TestServer
let b: TestServer
/** WAL sequences of a test: one table serves them all. */
let base = 0
const started: Exporter[] = []

beforeAll(async () => {
  a = await startClickHouse()
  b = await a.second()
})

beforeEach(() => {
  base += 10
})

afterEach(async () => {
  a.intercept = undefined
  b.intercept = undefined
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
})

afterAll(async () => {
  await b.close()
  await a.close()
})

function make(more: Record<string, unknown> = {}, meter = createMeter()): Exporter {
  const options = { endpoints: [a.url, b.url], database: 'spans', timeout: '10s', ...more }
  const context = { ...exporterContext('clickhouse'), meter }
  const exporter = clickhouseMaker.create(config.parse(options), context)
  started.push(exporter)
  return exporter
}

const at = (seq: number) => testBatch([{}, {}], { wal: { seq: base + seq, row: 0 } })
const two = () => [at(1), at(2)]
const token = () => `test-${base + 1}-${base + 2}`
const isInsert = ({ sql }: TestRequest) => sql.startsWith('INSERT') && sql.endsWith('FORMAT Native')
const inserts = (server: TestServer) => server.requests.filter(isInsert).length
const down = () => ({ drop: 'before' }) as const

async function counts(exporter: Exporter): Promise<unknown> {
  const sql = `SELECT count(), uniqExact(WalSeq, WalRow) FROM otel_traces WHERE WalSeq BETWEEN ${base} AND ${base + 9}`
  const request = { sql, params: {}, maxRows: 10, maxBytes: 1 << 20, timeoutMs: 5000 }
  return (await exporter.queryable?.query(request, NEVER))?.rows
}

function range(batches: readonly Batch[], attempt = 0) {
  const from = batches[0]?.meta.wal?.seq ?? 0
  const to = batches.at(-1)?.meta.wal?.seq ?? 0
  return testDelivery(batches, { from, to, token: `test-${from}-${to}`, attempt })
}

/** As the WAL reader: repeats the range until it is taken. */
async function deliver(exporter: Exporter, batches = two): Promise<number> {
  for (let attempt = 0; attempt < 6; attempt++) {
    try {
      await exporter.deliver?.(range(batches(), attempt), NEVER)
      return attempt
    } catch (error) {
      expect(error).toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
    }
  }
  throw new Error('not delivered')
}

test('the first endpoint is used until it fails, then the second, which stays', async () => {
  const meter = createMeter()
  const exporter = make({}, meter)
  await exporter.start?.()
  const before = [inserts(a), inserts(b)]
  expect(await deliver(exporter)).toBe(0)
  expect([inserts(a), inserts(b)]).toEqual([before[0]! + 1, before[1]])
  a.intercept = down
  const others = () => [at(3)]
  expect(await deliver(exporter, others)).toBe(1)
  expect(await counts(exporter)).toEqual([['6', '6']])
  expect(await meter.render()).toContain(
    `weir_clickhouse_endpoint_up{exporter="clickhouse",endpoint="${new URL(a.url).host}"} 0`,
  )
  a.intercept = undefined
  const more = () => [at(4)]
  expect(await deliver(exporter, more)).toBe(0)
  expect([inserts(a), inserts(b)]).toEqual([before[0]! + 2, before[1]! + 2])
})

test.each([
  ['stored and the connection is cut', () => ({ drop: 'after' }) as const],
  ['stored and the answer comes after the time-out', () => ({ lateMs: 3000 }) as const],
  ['half-open: nothing is ever answered', () => ({ hang: true }) as const],
  ['it stores only after the time-out', () => ({ slowMs: 2500 }) as const],
  [
    'its table is read-only',
    () => ({ status: 500, code: 242, message: 'Table is in readonly mode' }) as const,
  ],
])('an insert fails on one endpoint (%s): repeated on the other, each span is there once', async (_, how) => {
  const exporter = make({ timeout: '2s' })
  await exporter.start?.()
  a.intercept = (request) => (isInsert(request) ? how() : undefined)
  expect(await deliver(exporter)).toBeGreaterThan(0)
  expect(await counts(exporter)).toEqual([['4', '4']])
})

test('a read goes on at the next endpoint in the same call', async () => {
  const exporter = make()
  await exporter.start?.()
  await deliver(exporter)
  a.intercept = down
  expect(await counts(exporter)).toEqual([['4', '4']])
  b.intercept = down
  await expect(counts(exporter)).rejects.toMatchObject({ verdict: { do: 'retry' } })
})

test('all endpoints are away: retry; the first that comes back is used', async () => {
  const exporter = make()
  await exporter.start?.()
  a.intercept = down
  b.intercept = down
  for (let i = 0; i < 3; i++) {
    await expect(exporter.deliver?.(range(two(), i), NEVER)).rejects.toMatchObject({
      verdict: { do: 'retry' },
    })
  }
  b.intercept = undefined
  await deliver(exporter)
  expect(await counts(exporter)).toEqual([['4', '4']])
})

const otherServer = (request: TestRequest) => {
  if (!request.sql.includes('serverUUID()')) return undefined
  return { sql: request.sql.replaceAll('serverUUID()', "toUUID('11111111-1111-1111-1111-111111111111')") }
}

test('tables of different servers that are not replicated: refused, with the reason and the remedy', async () => {
  b.intercept = otherServer
  const exporter = make()
  await expect(exporter.start?.()).rejects.toMatchObject({
    code: 'START_FAILED',
    verdict: { do: 'reject' },
    message: expect.stringMatching(/not shown to be one store.*stored twice.*ReplicatedMergeTree/) as string,
  })
})

test('one that is away at start cannot be shown to be the same server: retry', async () => {
  b.intercept = down
  await expect(make().start?.()).rejects.toMatchObject({ code: 'START_FAILED', verdict: { do: 'retry' } })
})

test('an address that leads elsewhere when it comes back is not used', async () => {
  const exporter = make()
  await exporter.start?.()
  const before = inserts(a)
  a.intercept = down
  await deliver(exporter)
  a.intercept = otherServer
  b.intercept = (request) => (isInsert(request) ? down() : undefined)
  await expect(exporter.deliver?.(range([at(9)]), NEVER)).rejects.toMatchObject({ verdict: { do: 'retry' } })
  await expect(exporter.deliver?.(range([at(9)]), NEVER)).rejects.toMatchObject({ verdict: { do: 'retry' } })
  expect(inserts(a)).toBe(before + 1)
})

/**
 * A replica as its system tables show it. chdb has no interserver port, so a replicated table of two servers cannot be
 * made here: what Keeper would do with the token is done by the one table, what the replica lacks is hidden from it.
 */
function replica(state: { lag: number; hidden: boolean }) {
  return (request: TestRequest) => {
    const sql = request.sql
      .replace('SELECT engine, engine_full,', "SELECT 'ReplicatedMergeTree', engine_full,")
      .replaceAll(
        'FROM system.replicas',
        `FROM (SELECT 'default' AS zookeeper_name, '/t' AS zookeeper_path, 0 AS is_readonly, 0 AS is_session_expired, 7 AS log_pointer, 6 AS log_max_index, ${state.lag} AS inserts_in_queue, 'spans' AS database, 'otel_traces' AS table)`,
      )
    const hides = state.hidden && sql.startsWith('SELECT') && sql.includes('WHERE WalSeq BETWEEN')
    const seen = hides ? sql.replace('WHERE WalSeq', 'WHERE 0 AND WalSeq') : sql
    return seen === request.sql ? undefined : { sql: seen }
  }
}

test('a replica that lags is waited for: what another has acknowledged is not inserted again', async () => {
  const state = { lag: 0, hidden: false }
  const exporter = make({ timeout: '4s' })
  b.intercept = replica(state)
  a.intercept = replica(state)
  await exporter.start?.()
  const first = replica(state)
  a.intercept = (request) => (isInsert(request) ? { drop: 'after' } : first(request))
  await expect(exporter.deliver?.(range(two()), NEVER)).rejects.toMatchObject({
    verdict: { do: 'retry' },
  })
  Object.assign(state, { lag: 1, hidden: true })
  // The other replica has the token, not the rows: as long as it lags, nothing but the token itself is inserted.
  const before = b.requests.length
  await expect(exporter.deliver?.(range(two(), 1), NEVER)).rejects.toMatchObject({
    message: expect.stringContaining('behind') as string,
  })
  expect(
    b.requests
      .slice(before)
      .filter(isInsert)
      .map(({ sql }) => /token = '([^']*)'/.exec(sql)?.[1]),
  ).toEqual([token()])
  Object.assign(state, { lag: 0, hidden: false })
  await exporter.deliver?.(range(two(), 2), NEVER)
  expect(await counts(exporter)).toEqual([['4', '4']])
})

test('rows that a replica lost for good are inserted again once it has caught up', async () => {
  const state = { lag: 0, hidden: false }
  const exporter = make()
  a.intercept = replica(state)
  b.intercept = replica(state)
  await exporter.start?.()
  await deliver(exporter)
  await a.session.queryAsync(
    `ALTER TABLE spans.otel_traces DELETE WHERE WalSeq = ${base + 2} SETTINGS mutations_sync = 2`,
  )
  expect(await counts(exporter)).toEqual([['2', '2']])
  await exporter.deliver?.(range(two(), 1), NEVER)
  expect(await counts(exporter)).toEqual([['4', '4']])
})

test.each([
  ["Distributed('c', 'db', 'local', rand())", /sharded by rand\(\)/],
  ['ReplacingMergeTree ORDER BY x', /engine ReplacingMergeTree/],
])('a table that cannot hold what is promised (%s) is refused', async (full, message) => {
  const exporter = make({ endpoints: [a.url] })
  a.intercept = ({ sql }) =>
    sql.startsWith('SELECT engine,')
      ? {
          sql: `SELECT '${full.split(/\W/)[0]}', '${full.replaceAll("'", "\\'")}', 'u', 's' FORMAT JSONCompact`,
        }
      : undefined
  await expect(exporter.start?.()).rejects.toMatchObject({
    message: expect.stringMatching(message) as string,
  })
})
