import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { Exporter } from '../../../pipeline/component.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import {
  exporterContext,
  RECEIVED_AT_MS,
  testBatch,
  testDelivery,
  type TestSpan,
} from '../../../test/contract/exporter.ts'
import { cancelledAt } from '../../../test/support/cancelled-at.ts'
import { config } from '../config.ts'
import { openEmbedded } from '../embedded.ts'
import { clickhouse } from '../factory.ts'
import { targetOf } from '../target.ts'
import { ClickHouseReplay } from './replay.ts'

const clickhouseMaker = await clickhouse.load()

/** What a table holds after replays into it: real ClickHouse, embedded. */

const NEVER = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 'weir-replay-sink-'))
afterAll(() => rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

let exporter: Exporter
const database = 'weir_replay'
let tenants = 0
let tenant = ''

beforeAll(async () => {
  exporter = clickhouseMaker.create(config.parse({ directory, database }), exporterContext('clickhouse'))
  await exporter.start?.()
})
afterAll(() => exporter.stop?.(NEVER))
beforeEach(() => {
  tenant = `t${++tenants}`
})

async function rows(sql: string): Promise<readonly (readonly unknown[])[]> {
  const request = { sql, own: true, params: {}, maxRows: 10_000, maxBytes: 1 << 24, timeoutMs: 10_000 }
  return (await exporter.queryable?.query(request, NEVER))?.rows ?? []
}

/** Of this test's tenant. */
const figures = async (what: string): Promise<number[]> =>
  (await rows(`SELECT ${what} FROM otel_traces WHERE TenantId = '${tenant}'`))[0]?.map(Number) ?? []
const count = async (): Promise<number | undefined> => (await figures('count()'))[0]
const tables = () => rows(`SELECT name FROM system.tables WHERE name LIKE 'otel_traces_replay%'`)

const spans = (n: number, from = 0): TestSpan[] =>
  Array.from({ length: n }, (_, i) => ({
    spanId: (from + i + 1).toString(16).padStart(16, '0'),
    startTimeUnixNano: String(BigInt(RECEIVED_AT_MS + from + i) * 1_000_000n),
  }))

const archived = (list: readonly TestSpan[]): Batch => testBatch(list, { tenant })
/** As from a WAL. */
const logged = (list: readonly TestSpan[], seq: number): Batch =>
  testBatch(list, { tenant, wal: { seq, row: 0 } })

test('a table that holds everything gets nothing, one that holds nothing gets everything', async () => {
  const batches = [logged(spans(40), 1), logged(spans(40, 40), 2)]
  await exporter.deliver?.(testDelivery(batches), NEVER)
  expect(await exporter.replay?.count(batches, NEVER)).toEqual({ spans: 80, present: 80, expired: 0 })
  expect(await exporter.replay?.add(batches, 'again', NEVER)).toEqual({ spans: 80, present: 80, expired: 0 })
  expect(await count()).toBe(80)
  // Another tenant's spans of the same ids are others.
  const others = [testBatch(spans(40), { tenant: `${tenant}b` })]
  expect(await exporter.replay?.count(others, NEVER)).toEqual({ spans: 40, present: 0, expired: 0 })
  expect(await exporter.replay?.add(others, 'others', NEVER)).toEqual({ spans: 40, present: 0, expired: 0 })
  expect(await exporter.replay?.add(others, 'others again', NEVER)).toMatchObject({ present: 40 })
  expect(await count()).toBe(80)
  expect(await tables()).toEqual([])
})

test('only what is absent is added, and what comes twice once', async () => {
  await exporter.deliver?.(testDelivery([logged(spans(30, 10), 1)]), NEVER)
  const batches = [archived(spans(50)), archived(spans(20, 40))]
  expect(await exporter.replay?.add(batches, 'archive', NEVER)).toEqual({
    spans: 60,
    present: 30,
    expired: 0,
  })
  expect(await figures('count(), uniqExact(EventId), countIf(WalSeq = 1)')).toEqual([60, 60, 30])
  const [lookup] = await rows(
    `SELECT uniqExact(TraceId) FROM otel_traces_trace_id_ts WHERE TenantId = '${tenant}'`,
  )
  expect(Number(lookup?.[0])).toBe(1)
})

test('a token that was used, for rows that are gone, does not swallow them', async () => {
  const batches = [archived(spans(25))]
  await exporter.replay?.add(batches, 'same', NEVER)
  const { connection, close } = await direct()
  await connection.command(
    `ALTER TABLE ${database}.otel_traces DELETE WHERE TenantId = '${tenant}' SETTINGS mutations_sync = 1`,
  )
  await close()
  expect(await count()).toBe(0)
  expect(await exporter.replay?.add(batches, 'same', NEVER)).toMatchObject({ present: 0 })
  expect(await count()).toBe(25)
})

test('replaced spans are there once, as they are now; the others stay as they were', async () => {
  await exporter.deliver?.(testDelivery([logged(spans(60), 1)]), NEVER)
  const masked = archived(spans(20, 50))
  for (let row = 0; row < masked.rows; row++) masked.set(row, keyId('prompt'), '[REDACTED]')
  expect(await exporter.replay?.replace([masked], 'r1', NEVER)).toEqual({
    spans: 20,
    present: 10,
    expired: 0,
  })
  const masks = () => figures("count(), uniqExact(EventId), countIf(SpanAttributes['prompt'] = '[REDACTED]')")
  expect(await masks()).toEqual([70, 70, 20])
  // As after a crash before it was noted as done.
  expect(await exporter.replay?.replace([masked], 'r1', NEVER)).toMatchObject({ present: 20 })
  expect(await masks()).toEqual([70, 70, 20])
  await exporter.replay?.settle(NEVER)
  expect(await tables()).toEqual([])
})

test('a cancel between delete and insert waits until the spans are back', async () => {
  const batches = [archived(spans(20))]
  await exporter.replay?.add(batches, 'first', NEVER)
  const { connection, close } = await direct()
  const { cancelling, signal: cancel } = cancelledAt(connection, ' DELETE ')
  const sink = new ClickHouseReplay(() => ({
    connection: cancelling,
    target: targetOf(config.parse({ directory, database })),
    isShared: false,
    oldestMs: 0,
    ending: NEVER,
    inTurn: (signal, work) => work(signal),
    insert: async (some, _token, signal) => {
      signal.throwIfAborted()
      for (const batch of some) await exporter.consume(batch, signal)
    },
  }))
  await sink.replace(batches, 'second', cancel).catch(() => undefined)
  expect(cancel.aborted).toBe(true)
  await sink.settle(NEVER)
  expect(await figures('count(), uniqExact(EventId)')).toEqual([20, 20])
  await close()
})

test('what is past the age that the table keeps is not brought back, and what a kill left behind goes', async () => {
  const { connection, close } = await direct()
  await connection.command('CREATE DATABASE weir_ttl')
  await connection.command(
    `CREATE TABLE weir_ttl.otel_traces_replay_00ff (Id FixedString(16)) ENGINE = MergeTree ORDER BY tuple()`,
  )
  const other = clickhouseMaker.create(
    config.parse({ directory, database: 'weir_ttl', ttl: '720h' }),
    exporterContext('clickhouse/ttl'),
  )
  await other.start?.()
  const now = BigInt(Date.now()) * 1_000_000n
  const old = now - 31n * 86_400_000_000_000n
  const batch = archived([
    { startTimeUnixNano: String(now), endTimeUnixNano: String(now) },
    { startTimeUnixNano: String(old), endTimeUnixNano: String(old) },
  ])
  expect(await other.replay?.add([batch], 'ttl', NEVER)).toEqual({ spans: 1, present: 0, expired: 1 })
  const { data } = await connection.rows('SELECT count() FROM weir_ttl.otel_traces', {})
  expect(Number(data[0]?.[0])).toBe(1)
  expect(await tables()).toEqual([])
  await close()
  await other.stop?.(NEVER)
})

test('spans of any time are found: none, long ago, of many days, and past what a column of time can say', async () => {
  const at = (ns: bigint, i: number): TestSpan => ({
    spanId: (i + 1).toString(16).padStart(16, '0'),
    traceId: (i + 1).toString(16).padStart(32, '0'),
    startTimeUnixNano: String(ns),
  })
  const list = [
    at(0n, 0),
    at(1n, 1),
    at(18_000_000_000_000_000_000n, 2),
    ...Array.from({ length: 120 }, (_, i) =>
      at(BigInt(RECEIVED_AT_MS - i * 86_400_000) * 1_000_000n + 7n, i + 3),
    ),
  ]
  for (const some of [list, list.slice(3), list.slice(0, 2), list.slice(3, 50)]) {
    await exporter.replay?.add([archived(some)], `t${some.length}`, NEVER)
    expect(await exporter.replay?.count([archived(some)], NEVER)).toMatchObject({
      spans: some.length,
      present: some.length,
    })
  }
  expect(await count()).toBe(list.length)
})

async function direct() {
  const connection = await openEmbedded({
    directory,
    database,
    markCacheBytes: 1 << 26,
    maxMemoryBytes: 2 ** 31,
  })
  return { connection, close: () => connection.close() }
}
