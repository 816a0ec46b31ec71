import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, test } from 'vitest'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { Exporter } from '../../../pipeline/component.ts'
import { keyId } from '../../../pipeline/batch/keys.ts'
import { exporterContext, RECEIVED_AT_MS, testBatch, testDelivery } from '../../../test/contract/exporter.ts'
import { cancelledAt } from '../../../test/support/cancelled-at.ts'
import { until } from '../../../test/support/until.ts'
import { config } from '../config.ts'
import type { Connection } from '../connection.ts'
import { openEmbedded } from '../embedded.ts'
import { clickhouse } from '../factory.ts'
import { Inserts } from '../inserts.ts'
import { identify } from '../store-kind.ts'
import { targetOf } from '../target.ts'
import { ClickHouseReplay } from './replay.ts'

const clickhouseMaker = await clickhouse.load()

/** A replay beside deliveries whose end is not known, and what a replay that is killed leaves: real ClickHouse, embedded. */

const NEVER = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 'weir-replay-uncertain-'))
const settings = config.parse({ directory, database: 'weir_uncertain' })
const target = targetOf(settings)
const SPANS = 20
let exporter: Exporter
let connection: Connection
let tenants = 0
let tenant = ''

beforeAll(async () => {
  exporter = clickhouseMaker.create(settings, exporterContext('clickhouse'))
  await exporter.start?.()
  connection = await openEmbedded({
    directory,
    database: target.database,
    markCacheBytes: 1 << 26,
    maxMemoryBytes: 2 ** 31,
  })
})
afterAll(async () => {
  await connection.close()
  await exporter.stop?.(NEVER)
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})
beforeEach(() => {
  tenant = `t${++tenants}`
})

/** Spans as they are: `text` is what a replay changes. From an archive where they have no place in the WAL. */
function batchOf(text: string, wal?: { seq: number; row: number }): Batch {
  const spans = Array.from({ length: SPANS }, (_, i) => ({
    spanId: (i + 1).toString(16).padStart(16, '0'),
    startTimeUnixNano: String(BigInt(RECEIVED_AT_MS + i) * 1_000_000n),
  }))
  const batch = testBatch(spans, wal === undefined ? { tenant } : { tenant, wal })
  for (let row = 0; row < batch.rows; row++) batch.set(row, keyId('prompt'), text)
  return batch
}

/** A delivery of the message; from the second attempt on what became of the first is not known. */
const deliver = (seq: number, attempt: number) =>
  exporter.deliver?.(
    testDelivery([batchOf('old', { seq, row: 0 })], {
      from: seq,
      to: seq,
      token: `${tenant}-${seq}`,
      attempt,
    }),
    NEVER,
  )

/** `text,rows,different rows` of this tenant. */
async function stored(): Promise<string> {
  const sql = `SELECT SpanAttributes['prompt'] AS p, count(), uniqExact(EventId) FROM ${target.traces} WHERE TenantId = '${tenant}' GROUP BY p ORDER BY p`
  return (await connection.rows(sql, {}, NEVER)).data.join(';')
}

async function leftovers(): Promise<number> {
  const sql = `SELECT name FROM system.tables WHERE database = '${target.database}' AND (name LIKE '%\\_redact\\_%' OR name LIKE '%\\_replay\\_%')`
  return (await connection.rows(sql, {}, NEVER)).data.length
}

/** As of a process that is killed where the old rows are deleted and the new ones are not there yet. */
function killed(isShared = false): ClickHouseReplay {
  let isDead = false
  const dying: Connection = {
    ...connection,
    rows: async (sql, params, signal) => {
      if (isDead) throw new Error('killed')
      const answer = await connection.rows(sql, params, signal)
      if (sql.includes('system.mutations') && (await stored()) === '') isDead = true
      return answer
    },
    insert: (insert, signal) =>
      isDead ? Promise.reject(new Error('killed')) : connection.insert(insert, signal),
    command: (sql) => (isDead ? Promise.reject(new Error('killed')) : connection.command(sql)),
  }
  return replayBy(dying, isShared, () => (isDead ? Promise.reject(new Error('killed')) : Promise.resolve()))
}

function replayBy(by: Connection, isShared: boolean, alive: () => Promise<void>): ClickHouseReplay {
  return new ClickHouseReplay(() => ({
    connection: by,
    target,
    isShared,
    oldestMs: 0,
    ending: NEVER,
    inTurn: (signal, work) => work(signal),
    insert: async (batches, _token, signal) => {
      await alive()
      for (const batch of batches) await exporter.consume(batch, signal)
    },
  }))
}

test('replaced rows keep their places: a delivery that is repeated afterwards adds nothing', async () => {
  await deliver(1, 0)
  await exporter.replay?.replace([batchOf('new')], `${tenant}a`, NEVER)
  await deliver(1, 1)
  expect(await stored()).toBe(`new,${SPANS},${SPANS}`)
})

test('a span that is stored under two places is replaced in both: the delivery of neither puts it back', async () => {
  await deliver(2, 0)
  await deliver(3, 0)
  await exporter.replay?.replace([batchOf('new', { seq: 2, row: 0 })], `${tenant}a`, NEVER)
  await deliver(3, 1)
  await deliver(2, 1)
  expect(await stored()).toBe(`new,${2 * SPANS},${SPANS}`)
})

test('while a replay has rows out, a delivery of theirs waits; the next replay puts them back', async () => {
  await deliver(4, 0)
  await expect(killed().replace([batchOf('new')], `${tenant}a`, NEVER)).rejects.toThrow('killed')
  expect(await stored()).toBe('')
  await expect(deliver(4, 1)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
  const count = await exporter.replay?.replace([batchOf('new')], `${tenant}a`, NEVER)
  expect(count).toEqual({ spans: SPANS, present: SPANS, expired: 0 })
  await deliver(4, 2)
  expect(await stored()).toBe(`new,${SPANS},${SPANS}`)
  await exporter.replay?.settle(NEVER)
  expect(await leftovers()).toBe(0)
})

test('a replay that ends between two questions of a delivery has put its rows back', async () => {
  await deliver(7, 0)
  await expect(killed().replace([batchOf('new')], `${tenant}a`, NEVER)).rejects.toThrow('killed')
  let isFirst = true
  const slow: Connection = {
    ...connection,
    insert: (insert, signal) => connection.insert(insert, signal),
    command: (sql) => connection.command(sql),
    rows: async (sql, params, signal) => {
      const answer = await connection.rows(sql, params, signal)
      if (isFirst && sql.includes('groupArray((WalSeq')) {
        isFirst = false
        await exporter.replay?.replace([batchOf('new')], `${tenant}a`, NEVER)
      }
      return answer
    },
  }
  const kind = await identify(connection, target)
  const inserts = new Inserts(slow, target, { timeoutMs: 30_000, kind, settings: {} })
  // A token that the table has forgotten.
  await inserts.deliver([batchOf('old', { seq: 7, row: 0 })], `${tenant}-forgotten`, true, NEVER)
  expect(isFirst).toBe(false)
  expect(await stored()).toBe(`new,${SPANS},${SPANS}`)
})

test('spans of any time are replaced, also past what a column of time can say', async () => {
  const starts = [0n, 1n, 6_000_000_000_000_000_000n, 18_000_000_000_000_000_000n]
  const batch = testBatch(
    starts.map((ns, i) => ({ spanId: `${i + 1}`.padStart(16, '0'), startTimeUnixNano: String(ns) })),
    { tenant },
  )
  await exporter.replay?.add([batch], `${tenant}a`, NEVER)
  for (let row = 0; row < batch.rows; row++) batch.set(row, keyId('prompt'), 'new')
  expect(await exporter.replay?.replace([batch], `${tenant}b`, NEVER)).toMatchObject({ present: 4 })
  expect(await stored()).toBe('new,4,4')
})

test('a reprice puts back first what would come with the prices of before', async () => {
  await deliver(8, 0)
  await expect(killed().replace([batchOf('new')], `${tenant}a`, NEVER)).rejects.toThrow('killed')
  const request = { fromMs: RECEIVED_AT_MS, toMs: RECEIVED_AT_MS + 1000, budgetMs: 1000, dryRun: false }
  await exporter.repriceable?.reprice(request, () => undefined, NEVER)
  expect(await stored()).toBe(`new,${SPANS},${SPANS}`)
})

test('a cancel before anything is deleted leaves all as it was, and no table', async () => {
  await deliver(9, 0)
  const { cancelling, signal } = cancelledAt(connection, 'LEFT JOIN')
  const replay = replayBy(cancelling, false, () => Promise.resolve())
  await expect(replay.replace([batchOf('new')], `${tenant}a`, signal)).rejects.toThrow('cancelled')
  await replay.settle(NEVER)
  expect(await stored()).toBe(`old,${SPANS},${SPANS}`)
  expect(await leftovers()).toBe(0)
})

test('what a killed replay has taken out is back when the exporter starts again', async () => {
  await deliver(5, 0)
  await expect(killed().replace([batchOf('new')], `${tenant}a`, NEVER)).rejects.toThrow('killed')
  await exporter.stop?.(AbortSignal.timeout(10_000))
  await exporter.start?.()
  await until(async () => (await stored()) === `new,${SPANS},${SPANS}`)
  await deliver(5, 1)
  expect(await stored()).toBe(`new,${SPANS},${SPANS}`)
})

test('on a server: what is out in the hands of another is not missing; its own repeat puts it back at once', async () => {
  await deliver(6, 0)
  await expect(killed(true).replace([batchOf('new')], `${tenant}a`, NEVER)).rejects.toThrow('killed')
  const other = replayBy(connection, true, () => Promise.resolve())
  for (const add of [other.add.bind(other), other.replace.bind(other)])
    await expect(add([batchOf('other')], `${tenant}b`, NEVER)).rejects.toMatchObject({
      verdict: { do: 'retry' },
    })
  expect(await stored()).toBe('')
  await other.replace([batchOf('newer')], `${tenant}a`, NEVER)
  expect(await stored()).toBe(`newer,${SPANS},${SPANS}`)
})
