import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import type { Exporter } from '../../../pipeline/component.ts'
import type { RedactWork } from '../../../pipeline/redact.ts'
import { exporterContext, RECEIVED_AT_MS, testBatch, testDelivery } from '../../../test/contract/exporter.ts'
import { until } from '../../../test/support/until.ts'
import { config } from '../config.ts'
import type { Connection } from '../connection.ts'
import { openEmbedded } from '../embedded.ts'
import { clickhouse } from '../factory.ts'
import { settleMutations } from '../mutations.ts'
import { targetOf } from '../target.ts'
import { redactTable } from './redact.ts'

const clickhouseMaker = await clickhouse.load()

/** What becomes of rows when a replacement is broken off just where they are nowhere but in its own table: real ClickHouse, embedded. */

const NEVER = new AbortController().signal
const directory = mkdtempSync(join(tmpdir(), 'weir-redact-table-'))
const settings = config.parse({ directory, database: 'weir_redact' })
const target = targetOf(settings)
const SPANS = 30
let exporter: Exporter
let connection: Connection

beforeAll(async () => {
  exporter = clickhouseMaker.create(settings, exporterContext('clickhouse'))
  await exporter.start?.()
  const { mark_cache: markCacheBytes, max: maxMemoryBytes } = settings.memory
  connection = await openEmbedded({ directory, database: target.database, markCacheBytes, maxMemoryBytes })
})
afterAll(async () => {
  await connection.close()
  await exporter.stop?.(NEVER)
  rmSync(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

const request = { fromMs: 0, toMs: RECEIVED_AT_MS + 86_400_000, dryRun: false }

/** Every span gets this name. */
function renaming(name: string, more: Partial<RedactWork> = {}): RedactWork {
  return {
    redact: (batch: Batch) => {
      for (let row = 0; row < batch.rows; row++) batch.setName(row, name)
      return Promise.resolve()
    },
    checkpoint: undefined,
    save: () => Promise.resolve(),
    changed: () => Promise.resolve(),
    progress: () => undefined,
    ...more,
  }
}

async function names(): Promise<string> {
  const sql = `SELECT SpanName, count() FROM ${target.traces} GROUP BY SpanName ORDER BY SpanName`
  return (await connection.rows(sql, {}, NEVER)).data.join(';')
}

async function tables(): Promise<readonly unknown[]> {
  const sql = `SELECT name FROM system.tables WHERE name LIKE 'otel_traces_redact%'`
  return (await connection.rows(sql, {}, NEVER)).data
}

/** Breaks where the old rows are deleted and the new ones are not there yet. */
const broken = (): Connection => ({
  ...connection,
  rows: (sql, params, signal) => connection.rows(sql, params, signal),
  insert: (insert, signal) => connection.insert(insert, signal),
  command: (sql) =>
    sql.startsWith(`INSERT INTO ${target.traces} (`)
      ? Promise.reject(new Error('killed'))
      : connection.command(sql),
})

test('a run that ended between delete and insert loses nothing: the next one puts the rows back', async () => {
  const spans = Array.from({ length: SPANS }, () => ({ name: 'secret' }))
  await exporter.deliver?.(
    testDelivery([testBatch(spans, { tenant: 'acme', wal: { seq: 1, row: 0 } })]),
    NEVER,
  )
  const place = { connection: broken(), target, isShared: false, ending: NEVER }
  await expect(redactTable(place, request, renaming('masked'), NEVER)).rejects.toThrow('killed')
  expect(await names()).toBe('')
  // Cancelled, timed out or failed: whoever comes next knows no checkpoint, and may be asked for something else.
  await exporter.redactable?.redact({ ...request, toMs: 1 }, renaming('masked'), NEVER)
  expect(await names()).toBe(`masked,${SPANS}`)
  expect(await tables()).toEqual([])
})

test('a delivery that is repeated while its rows are taken out does not put the old ones in again', async () => {
  const again = (attempt: number) =>
    exporter.deliver?.(
      testDelivery([testBatch([{ name: 'fresh' }], { tenant: 'twice', wal: { seq: 77, row: 0 } })], {
        from: 77,
        to: 77,
        token: 'twice',
        attempt,
      }),
      NEVER,
    )
  const mine = async () => {
    const sql = `SELECT SpanName, count() FROM ${target.traces} WHERE TenantId = 'twice' GROUP BY SpanName`
    return (await connection.rows(sql, {}, NEVER)).data.join(';')
  }
  await again(0)
  const place = { connection: broken(), target, isShared: false, ending: NEVER }
  const only = { ...request, tenant: 'twice' }
  await expect(redactTable(place, only, renaming('masked'), NEVER)).rejects.toThrow('killed')
  expect(await mine()).toBe('')
  await expect(again(1)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
  await exporter.redactable?.redact({ ...only, toMs: 1 }, renaming('masked'), NEVER)
  await again(2)
  expect(await mine()).toBe('masked,1')
  await connection.command(
    `ALTER TABLE ${target.traces} DELETE WHERE TenantId = 'twice' SETTINGS mutations_sync = 2`,
  )
})

test('goes on from its checkpoint, also where all was done but for saying so', async () => {
  let saved: unknown
  const save = (at: unknown) => Promise.resolve(void (saved = at))
  const place = { connection: broken(), target, isShared: false, ending: NEVER }
  await expect(redactTable(place, request, renaming('again', { save }), NEVER)).rejects.toThrow('killed')
  expect(saved).toMatchObject({ changed: SPANS, staged: expect.any(String) })
  for (const checkpoint of [saved, saved]) {
    const count = await exporter.redactable?.redact(request, renaming('again', { checkpoint }), NEVER)
    expect(count).toEqual({ spans: SPANS, changed: SPANS })
    expect(await names()).toBe(`again,${SPANS}`)
    expect(await tables()).toEqual([])
  }
})

test('a cancel between delete and insert waits until the rows are back', async () => {
  const cancel = new AbortController()
  const cancelling: Connection = {
    ...broken(),
    command: async (sql) => {
      await connection.command(sql)
      if (sql.includes(' DELETE ')) cancel.abort(new Error('cancelled'))
    },
  }
  const place = { connection: cancelling, target, isShared: false, ending: NEVER }
  await redactTable(place, request, renaming('third'), cancel.signal).catch(() => undefined)
  expect(cancel.signal.aborted).toBe(true)
  await settleMutations(place, 'redact', NEVER)
  expect(await names()).toBe(`third,${SPANS}`)
})

test('what an interrupted one has taken out is back when the exporter starts again', async () => {
  const place = { connection: broken(), target, isShared: false, ending: NEVER }
  await expect(redactTable(place, request, renaming('fourth'), NEVER)).rejects.toThrow('killed')
  expect(await names()).toBe('')
  await exporter.stop?.(AbortSignal.timeout(10_000))
  await exporter.start?.()
  await until(async () => (await names()) === `fourth,${SPANS}` && (await tables()).length === 0)
  await exporter.redactable?.redact(request, renaming('third'), NEVER)
})

test('a reprice and a replay wait for a redaction, which they would undo or put in twice', async () => {
  let entered: () => void = () => undefined
  let leave: () => void = () => undefined
  const inside = new Promise<void>((resolve) => (entered = resolve))
  const left = new Promise<void>((resolve) => (leave = resolve))
  const slow = renaming('third', { redact: () => (entered(), left) })
  const ended: string[] = []
  const noting = async (name: string, work: Promise<unknown> | undefined): Promise<void> => {
    await work
    ended.push(name)
  }
  const redacting = noting('redaction', exporter.redactable?.redact(request, slow, NEVER))
  await inside
  const reprice = (dryRun: boolean) => {
    const day = { fromMs: RECEIVED_AT_MS, toMs: RECEIVED_AT_MS + 1000, budgetMs: 1000, dryRun }
    return exporter.repriceable?.reprice(day, () => undefined, NEVER)
  }
  const again = testBatch([{ name: 'third' }], { tenant: 'acme', wal: { seq: 1, row: 0 } })
  const others = [
    noting('reprice', reprice(false)),
    noting('replay', exporter.replay?.add([again], 'again', NEVER)),
  ]
  // It changes nothing, so it need not wait; and by then the others have asked for their turn.
  await noting('dry run', reprice(true))
  leave()
  await Promise.all([redacting, ...others])
  expect(ended.slice(0, 2)).toEqual(['dry run', 'redaction'])
  expect(await names()).toBe(`third,${SPANS}`)
})

test('two at once take turns: each sees what the other made', async () => {
  const appending = (text: string) =>
    renaming('', {
      redact: (batch: Batch) => {
        for (let row = 0; row < batch.rows; row++) {
          if (!batch.name(row).includes(text)) batch.setName(row, `${batch.name(row)}${text}`)
        }
        return Promise.resolve()
      },
    })
  const first = exporter.redactable?.redact(request, appending('-a'), NEVER)
  await exporter.redactable?.redact(request, appending('-b'), NEVER)
  await first
  expect(await names()).toBe(`third-a-b,${SPANS}`)
  expect(await tables()).toEqual([])
})
