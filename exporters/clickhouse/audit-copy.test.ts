import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import { createChdbConnection } from 'chdb/connection'
import pino from 'pino'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { AuditCopier, type AuditCopy, type CopyRange } from '../../pipeline/audit/copier.ts'
import { AuditLog } from '../../pipeline/audit/log.ts'
import { readHead } from '../../pipeline/audit/reader.ts'
import { HEAD } from '../../pipeline/audit/records.ts'
import { verifyState } from '../../pipeline/audit/verify-state.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { copyCheck } from '../../extensions/api/audit-copy.ts'
import { extensionContext } from '../../test/support/extension-context.ts'
import { config } from './config.ts'
import { ClickHouseExporter } from './exporter.ts'

const log = pino({ level: 'silent' })
const home = mkdtempSync(join(tmpdir(), 'weir-audit-copy-'))
const state = new EmbeddedState(join(home, 'state'))
const { context, close } = extensionContext('clickhouse')
const exporter = new ClickHouseExporter(config.parse({ directory: join(home, 'clickhouse') }), context)
let nowMs = Date.parse('2026-01-31T23:59:00Z')
const keyFile = join(home, 'audit.key')
const audit = new AuditLog({ state, keyFile, log, meter: createMeter(), clock: () => nowMs })
const signal = AbortSignal.timeout(120_000)

beforeAll(async () => {
  await state.open()
  await exporter.start()
})
afterAll(async () => {
  await exporter.stop(AbortSignal.timeout(5000))
  await state.close()
  await close()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function rows(sql: string): Promise<readonly (readonly unknown[])[]> {
  const limits = { params: {}, own: true, maxRows: 5000, maxBytes: 1 << 24, timeoutMs: 10_000 }
  return (await exporter.queryable.query({ sql, ...limits }, signal)).rows
}

async function add(count: number): Promise<void> {
  const entry = {
    actor: { id: 'k1', kind: 'key' },
    action: 'key.create',
    tenant: 'acme',
    outcome: 'ok',
  } as const
  await Promise.all(Array.from({ length: count }, (_, at) => audit.append({ ...entry, object: `o${at}` })))
}

/** Copies until everything is there; `through` may stand between. */
async function copied(size: number, through: AuditCopy = exporter.auditCopy, holders = 1): Promise<void> {
  const copiers = Array.from({ length: holders }, (_, at) => {
    return new AuditCopier({
      state,
      log,
      meter: createMeter(),
      holder: `h${at}`,
      copies: () => [through],
      everyMs: 20,
    })
  })
  for (const copier of copiers) copier.start()
  await expect.poll(async () => Number((await rows('SELECT max(Seq) FROM audit_log'))[0]?.[0])).toBe(size)
  await Promise.all(copiers.map((copier) => copier.stop()))
}

const whole = (size: number) => [[String(size), String(size), String(size)]]
const COUNTS = 'SELECT count(), uniqExact(Seq), max(Seq) FROM audit_log'

it('has each entry once, over the end of a month, with two daemons that copy, and its fields to ask by', async () => {
  await add(700)
  nowMs += 120_000
  await add(800)
  await copied(1500, exporter.auditCopy, 2)
  expect(await rows(COUNTS)).toEqual(whole(1500))
  const asked = `SELECT Seq, toString(Time), Actor, ActorKind, Action, Tenant, Outcome FROM audit_log WHERE Object = 'o3' ORDER BY Seq`
  expect(await rows(asked)).toEqual([
    ['4', '2026-01-31 23:59:00.000', 'k1', 'key', 'key.create', 'acme', 'ok'],
    ['704', '2026-02-01 00:01:00.000', 'k1', 'key', 'key.create', 'acme', 'ok'],
  ])
})

it('shows a tenant none of it: what concerns tenants is asked of the API, by their admins', async () => {
  const request = {
    sql: 'SELECT count() FROM audit_log',
    params: {},
    tenant: 'acme',
    maxRows: 10,
    maxBytes: 1000,
    timeoutMs: 5000,
  }
  expect((await exporter.queryable.query(request, signal)).rows).toEqual([['0']])
})

it('repeats exactly the range that it began, however much has come meanwhile', async () => {
  const seen: string[] = []
  const lossy: AuditCopy = {
    place: exporter.auditCopy.place,
    last: (...args) => exporter.auditCopy.last(...args),
    async store(range: CopyRange, ended) {
      seen.push(`${range.first}+${range.lines.length}`)
      if (seen.length === 1) {
        await add(3)
        throw new Error('killed before the insert')
      }
      await exporter.auditCopy.store(range, ended)
      if (seen.length === 2) throw new Error('killed after it')
    },
  }
  await add(10)
  await copied(1513, lossy)
  expect(seen).toEqual(['1501+10', '1501+10', '1511+3'])
  expect(await rows(COUNTS)).toEqual(whole(1513))
})

it('takes a range once from two at a time, and again where a token was logged and its part was not', async () => {
  await add(5)
  const { head } = (await readHead(state)) ?? {}
  const range = { log: head?.log ?? '', first: 1514, lines: head?.tail.slice(-5) ?? [] }
  await Promise.all([exporter.auditCopy.store(range, signal), exporter.auditCopy.store(range, signal)])
  expect(await rows(COUNTS)).toEqual(whole(1518))
  const client = createClient({
    connection: createChdbConnection({ path: join(home, 'clickhouse') }),
  } as object)
  await client.command({
    query: 'ALTER TABLE weir.audit_log DELETE WHERE Seq > 1513 SETTINGS mutations_sync = 1',
  })
  await client.close()
  await exporter.auditCopy.store(range, signal)
  expect(await rows(COUNTS)).toEqual(whole(1518))
})

it('is compared with the log, line by line and field by field', async () => {
  const check = async () => {
    const copy = copyCheck({ query: (request) => exporter.queryable.query(request, signal) }, signal)
    return (await verifyState(state, { copy })).finding
  }
  expect(await check()).toBeUndefined()
  // The store set back to what it was, signature and all: what the copy has more says so.
  const before = await state.get(HEAD)
  await add(2)
  await copied(1520)
  expect(await check()).toBeUndefined()
  const now = await state.get(HEAD)
  await state.put(HEAD, before?.value ?? Buffer.of())
  expect(await check()).toMatchObject({ kind: 'truncated', seq: 1519 })
  await state.put(HEAD, now?.value ?? Buffer.of())
  const client = createClient({
    connection: createChdbConnection({ path: join(home, 'clickhouse') }),
  } as object)
  const alter = (what: string) =>
    client.command({ query: `ALTER TABLE weir.audit_log ${what} SETTINGS mutations_sync = 1` })
  await alter(`UPDATE Actor = 'nobody' WHERE Seq = 1200`)
  expect(await check()).toMatchObject({ kind: 'copy', seq: 1200 })
  await alter(`UPDATE Line = replaceOne(Line, 'k1', 'k2') WHERE Seq = 900`)
  expect(await check()).toMatchObject({ kind: 'copy', seq: 900 })
  await alter('DELETE WHERE Seq = 5')
  expect(await check()).toMatchObject({ kind: 'copy', seq: 5 })
  await client.close()
})
