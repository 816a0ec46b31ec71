import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import type { DeliveryOutcome, Exporter, Receipt } from '../../pipeline/component.ts'
import { startClickHouse, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { startDaemon } from '../../test/support/daemon.ts'
import { until } from '../../test/support/until.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
let server: TestServer
const started: Exporter[] = []

beforeAll(async () => {
  server = await startClickHouse()
})

afterEach(async () => {
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
})

afterAll(() => server.close())

function make(database: string, more: Record<string, unknown> = {}): Exporter {
  const parsed = config.parse({ endpoint: server.url, database, timeout: '10s', ...more })
  const exporter = clickhouseMaker.create(parsed, exporterContext('clickhouse'))
  started.push(exporter)
  return exporter
}

const direct = async (sql: string) =>
  (await server.session.queryAsync(sql, { format: 'JSONCompact' })).json<{ data: unknown[][] }>().data

/** What a power loss does to parts that were not synced. */
const lose = (database: string, where: string) =>
  server.session.queryAsync(
    `ALTER TABLE ${database}.otel_traces DELETE WHERE ${where} SETTINGS mutations_sync = 2`,
  )

const range = (seqs: readonly number[], attempt: number) =>
  testDelivery(
    seqs.map((seq) => testBatch([{}, { spanId: '00000000000000ff' }], { wal: { seq, row: 0 } })),
    { from: seqs[0]!, to: seqs.at(-1)!, token: `r-${seqs.join()}`, attempt },
  )

const receiptOf = (outcome: DeliveryOutcome | undefined) => outcome?.receipts?.[0] as Receipt

test('a receipt is the count and checksum by which the rows are found again, or not', async () => {
  const exporter = make('receipts')
  await exporter.start?.()
  const first = receiptOf(await exporter.deliver?.(range([1, 2], 0), NEVER))
  const second = receiptOf(await exporter.deliver?.(range([3], 0), NEVER))
  expect([first.rows, first.added, second.rows]).toEqual([4, 0, 2])
  const sum = (BigInt(`0x${first.sum}`) ^ BigInt(`0x${second.sum}`)).toString(16)
  const both = { ...first, rows: 6, sum, from: 1, to: 3, lastMs: Math.max(first.lastMs, second.lastMs) }
  const holds = () => exporter.recheck?.holds(both, NEVER)
  expect(await holds()).toBe(true)
  expect(await exporter.recheck?.holds({ ...both, sum: '1' }, NEVER)).toBe(false)
  await lose('receipts', 'WalSeq = 2 AND WalRow = 1')
  expect(await holds()).toBe(false)
  const again = receiptOf(await exporter.deliver?.(range([1, 2], 1), NEVER))
  expect(again).toEqual({ ...first, added: 1 })
  expect(await holds()).toBe(true)
  expect(await direct('SELECT count(), uniqExact(WalSeq, WalRow) FROM receipts.otel_traces')).toEqual([
    [6, 6],
  ])
})

test('synced tables, reconcile: 0 and embedded ClickHouse give no receipts', async () => {
  const exporter = make('synced')
  await exporter.start?.()
  await exporter.stop?.(NEVER)
  await server.session.queryAsync('ALTER TABLE synced.otel_traces MODIFY SETTING fsync_after_insert = 1')
  await exporter.start?.()
  expect(await exporter.deliver?.(range([1], 0), NEVER)).toEqual({ rejected: [] })
  expect(make('never', { reconcile: '0' }).recheck).toBeUndefined()
  expect(make('never', { endpoint: 'embedded' }).recheck).toBeUndefined()
})

test(
  'what a server lost after its answer is stored again out of the WAL, each span once',
  { timeout: 180_000 },
  async () => {
    const daemon = await startDaemon({
      config: `
receivers: { otlp: { protocols: { http: {} } } }
connectors: { wal: { driver: embedded } }
exporters:
  clickhouse: { endpoint: '${server.url}', database: restored, reconcile: 15s, batch: { max_wait: 20ms } }
extensions: { state: {}, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/out: { receivers: [wal], exporters: [clickhouse] }
`,
    })
    try {
      await daemon.ready()
      for (let request = 0; request < 10; request++) {
        const spans = Array.from({ length: 50 }, (_, i) => ({
          traceId: (request + 1).toString(16).padStart(32, '0'),
          spanId: (request * 50 + i + 1).toString(16).padStart(16, '0'),
          name: 'span',
          startTimeUnixNano: String(BigInt(Date.now()) * 1_000_000n),
        }))
        const answer = await fetch(`${daemon.endpoints.http}/v1/traces`, {
          method: 'POST',
          headers: { 'content-type': 'application/json' },
          body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }),
        })
        expect(answer.status).toBe(200)
      }
      const counts = () => direct('SELECT count(), uniqExact(SpanId) FROM restored.otel_traces')
      await until(async () => (await counts().catch(() => []))[0]?.[0] === 500)
      await lose('restored', "endsWith(SpanId, '7') OR TraceId LIKE '%3'")
      expect((await counts())[0]?.[0]).toBeLessThan(450)
      await until(async () => (await counts())[0]?.[0] === 500)
      expect(await counts()).toEqual([[500, 500]])
      // The store process tells its figures from time to time.
      const restored = async () => (await daemon.metrics()).sum('weir_rechecked_spans', 'outcome="restored"')
      await until(async () => (await restored()) > 50)
      expect((await daemon.metrics()).sum('weir_accounting_imbalance_spans')).toBe(0)
    } finally {
      await daemon.stop()
    }
  },
)
