import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createClient } from '@clickhouse/client'
import { createChdbConnection } from 'chdb/connection'
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest'
import { config as clickhouseConfig } from '../../exporters/clickhouse/config.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import { config as fileConfig } from '../../exporters/file/config.ts'
import { file } from '../../exporters/file/factory.ts'
import { config as s3Config } from '../../exporters/s3/config.ts'
import { s3 } from '../../exporters/s3/factory.ts'
import type { AuditEntry } from '../../pipeline/audit/audit.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import type { Tenant } from '../../pipeline/identity/records.ts'
import type { JobContext, JobReport, Task } from '../../pipeline/jobs/job.ts'
import { DAY_MS, type Retainable } from '../../pipeline/retention.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { LetterRetention } from '../../pipeline/wal/retention.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { S3Server } from '../../test/support/s3-server.ts'
import { config, params } from './config.ts'
import { RetentionJob } from './retention.ts'

const clickhouseMaker = await clickhouse.load()
const fileMaker = await file.load()
const s3Maker = await s3.load()

/** Every real store, 400 days, and three tenants that keep their data for different times. */

const NEVER = new AbortController().signal
vi.setConfig({ testTimeout: 120_000 })
const BEGIN = Date.UTC(2025, 0, 1)
const KEEP: Readonly<Record<string, number>> = { free: 30, paid: 90, big: 365, stray: 30 }
const LETTERS = { free: 14, paid: 20, big: 200, stray: 20 }
/** Between days of which there are data; WEIR_TEST_RETENTION_STEP=1 for a long look. */
const STEP = Number(process.env['WEIR_TEST_RETENTION_STEP'] ?? 56)
const DAYS = Array.from({ length: Math.ceil(400 / STEP) }, (_, at) => at * STEP)
const CONFIG = config.parse({
  dead_letters: 20,
  tenants: { big: { traces: 365, dead_letters: 200 }, free: { dead_letters: 14 } },
})

const tenants = new Map<string, Tenant>(
  (['free', 'paid', 'enterprise'] as const).map((tier) => {
    const id = tier === 'enterprise' ? 'big' : tier
    return [id, { v: 1, id, name: '', tier, status: 'active', created_ms: 0 }]
  }),
)
const identity = { ...NOBODY_KNOWN, tenant: (id: string) => tenants.get(id), tenants: () => tenants.values() }

const home = mkdtempSync(join(tmpdir(), 'weir-retention-'))
const meter = createMeter()
const entries: AuditEntry[] = []
const state = new EmbeddedState(join(home, 'state'))
let nowMs = BEGIN
let bucket: S3Server
let stores: { ch: Exporter; s3: Exporter; file: Exporter }
let letters: DeadLetters

beforeAll(async () => {
  bucket = await S3Server.start()
  await state.open()
  const ch = clickhouseMaker.create(
    clickhouseConfig.parse({ directory: join(home, 'ch') }),
    exporterContext('clickhouse'),
  )
  const archive = s3Maker.create(
    s3Config.parse({ s3uploader: { ...bucket.place, s3_prefix: 'a' }, marshaler: 'otlp_proto' }),
    exporterContext('s3'),
  )
  mkdirSync(join(home, 'files'))
  const lines = fileMaker.create(
    fileConfig.parse({ path: join(home, 'files', 'traces.jsonl'), rotation: { max_backups: 0 } }),
    exporterContext('file'),
  )
  stores = { ch, s3: archive, file: lines }
  for (const each of Object.values(stores)) await each.start?.()
  letters = new DeadLetters({ connector: 'wal', state, meter, clock: () => nowMs, maxBytes: 1 << 30 })
  await fill()
})

afterAll(async () => {
  for (const each of Object.values(stores)) await each.stop?.(NEVER)
  await state.close()
  await bucket.close()
  rmSync(home, { recursive: true, force: true, maxRetries: 5 })
})

async function sql(text: string): Promise<readonly (readonly unknown[])[]> {
  const client = createClient({ connection: createChdbConnection({ path: join(home, 'ch') }) } as object)
  try {
    if (!text.startsWith('SELECT')) {
      await client.command({ query: text })
      return []
    }
    const result = await client.query({ query: text, format: 'JSONCompact' })
    return ((await result.json()) as unknown as { data: unknown[][] }).data
  } finally {
    await client.close()
  }
}

/** So many days lie between rows without a tenant. */
const FOREIGN = 9

const stampOf = (ms: number): string => new Date(ms).toISOString().slice(0, -1).replaceAll(':', '-')

async function fill(): Promise<void> {
  const names = Object.keys(KEEP)
  const array = `[${names.map((name) => `'${name}'`).join(', ')}]`
  const time = `toDateTime64('2025-01-01 00:00:00', 9, 'UTC') + toIntervalDay(number * ${STEP})`
  const unlimited = 'SETTINGS throw_on_max_partitions_per_insert_block = 0'
  // Parts of all tenants, and parts of one. A trace may have spans of two days.
  const mixed = `SELECT ${time} + toIntervalHour(12), arrayJoin(${array}), lower(hex(MD5(concat('m', toString(intDiv(number, 2)))))) FROM numbers(${DAYS.length})`
  await sql(`INSERT INTO weir.otel_traces (Timestamp, TenantId, TraceId) ${mixed} ${unlimited}`)
  const own = `SELECT ${time} + toIntervalSecond(86399), 'free', lower(hex(MD5(concat('f', toString(number))))) FROM numbers(${DAYS.length})`
  await sql(`INSERT INTO weir.otel_traces (Timestamp, TenantId, TraceId) ${own} ${unlimited}`)
  // Another program writes into the table, too.
  const foreign = `SELECT ${time}, '', lower(hex(MD5(concat('x', toString(number))))) FROM numbers(${DAYS.length}) WHERE number % ${FOREIGN} = 0`
  await sql(`INSERT INTO weir.otel_traces (Timestamp, TenantId, TraceId) ${foreign} ${unlimited}`)
  for (const [at, day] of DAYS.entries()) {
    const atMs = BEGIN + day * DAY_MS + DAY_MS / 2
    writeFileSync(join(home, 'files', `traces-${stampOf(atMs)}.jsonl`), '{}\n')
    nowMs = atMs
    const put = names.map((tenant) => letterOf(tenant, at))
    await letters.put(put)
    const batches = names.map((tenant) => testBatch([{}], { tenant }))
    await stores.s3.deliver?.(testDelivery(batches, { from: at + 1, to: at + 1, token: `t${day}` }), NEVER)
    for (const key of await bucket.keys('a')) if (key.includes(`_t${day}.`)) await bucket.age(key, atMs)
  }
}

function letterOf(tenant: string, seq: number) {
  return {
    cursor: 'traces/clickhouse',
    component: 'clickhouse',
    reason: 'no',
    tenant,
    project: '',
    principal: '',
    source: 'otlp',
    receivedAtMs: nowMs,
    seq,
    row: Object.keys(KEEP).indexOf(tenant),
    spans: 1,
    attempts: 1,
    format: 'otlp' as const,
    body: Buffer.from('body'),
  }
}

/** `tenant day` of everything that is still there, by store. */
async function held() {
  const rows = await sql(
    `SELECT DISTINCT TenantId, intDiv(toUnixTimestamp64Milli(Timestamp) - ${BEGIN}, ${DAY_MS}) FROM weir.otel_traces`,
  )
  const objects = (await bucket.keys('a')).flatMap((key) => {
    const [, tenant, day] = /tenant=(\w+)\/.*_t(\d+)\./.exec(key) ?? []
    return tenant === undefined ? [] : [`${tenant} ${day}`]
  })
  const listed = await Promise.all(
    (await bucket.keys('a/_manifests')).map(async (key) => {
      const manifest = JSON.parse((await bucket.get(key)).toString()) as {
        objects: { tenant: string }[]
        tenants: string[]
        rows: number
      }
      expect(manifest.rows).toBe(manifest.objects.length)
      return manifest.objects.map(({ tenant }) => `${tenant} ${/_t(\d+)\./.exec(key)?.[1]}`)
    }),
  )
  const files = readdirSync(join(home, 'files'))
    .filter((name) => /-2/.test(name))
    .map((name) => String(Math.floor((Date.parse(`${name.slice(7, 17)}T00:00:00Z`) - BEGIN) / DAY_MS)))
  const dead = (await letters.list()).map(
    ({ tenant, firstMs }) => `${tenant} ${Math.floor((firstMs - BEGIN) / DAY_MS)}`,
  )
  const sorted = (items: readonly string[]): string[] => items.toSorted()
  return {
    rows: sorted(rows.map(([tenant, day]) => `${String(tenant)} ${String(day)}`)),
    objects: sorted(objects),
    listed: sorted(listed.flat()),
    files: sorted(files),
    dead: sorted(dead),
  }
}

function expected(today: number) {
  const pairs = (keep: Readonly<Record<string, number>>, days: readonly number[]): string[] =>
    Object.entries(keep)
      .flatMap(([tenant, most]) => days.filter((day) => day >= today - most).map((day) => `${tenant} ${day}`))
      .toSorted()
  const foreign = DAYS.filter((_, at) => at % FOREIGN === 0).map((day) => ` ${day}`)
  return {
    rows: [...foreign, ...pairs(KEEP, DAYS)].toSorted(),
    objects: pairs(KEEP, DAYS),
    listed: pairs(KEEP, DAYS),
    files: DAYS.filter((day) => day >= today - 365)
      .map(String)
      .toSorted(),
    dead: pairs(LETTERS, DAYS),
  }
}

const retainables = (): Retainable[] => [
  ...Object.values(stores).flatMap(({ retainable }) => retainable ?? []),
  new LetterRetention('wal', letters),
]

function job(more: Partial<JobContext> = {}, kept: () => readonly Retainable[] = retainables) {
  const audit = {
    append: (entry: AuditEntry) => {
      entries.push(entry)
      return Promise.resolve(entries.length)
    },
    refused: () => undefined,
  }
  const none = () => []
  const noRoute = (): never => {
    throw new Error('nothing is replayed here')
  }
  const context: JobContext = {
    ...exporterContext('retention'),
    kind: 'job',
    meter,
    state,
    identity,
    audit,
    stores: {
      exporters: none,
      logs: none,
      redactors: none,
      redactables: () => new Map(),
      chains: none,
      route: noRoute,
      retainables: kept,
    },
    ...more,
  }
  return new RetentionJob(CONFIG, context)
}

async function run(more: Partial<Task> = {}, subject = job()): Promise<JobReport> {
  const task: Task = {
    job: 'retention',
    id: '1',
    scheduledAtMs: nowMs,
    dryRun: false,
    params: params.parse({}),
    by: 'schedule',
    checkpoint: undefined,
    save: () => Promise.resolve(),
    progress: () => undefined,
    clock: () => nowMs,
    ...more,
  }
  return subject.run(task, NEVER)
}

async function overdue(): Promise<Record<string, number>> {
  const metric = (await meter.snapshot()).find(({ name }) => name === 'weir_retention_overdue')
  return Object.fromEntries(
    (metric?.values ?? []).map(({ labels, value }) => [String(labels['store']), value]),
  )
}

describe('retention over 400 days', () => {
  it('tells first what it would do, and does nothing', async () => {
    nowMs = BEGIN + 40 * DAY_MS + 2 * 3_600_000
    const before = await held()
    const { counts, notes } = await run({ dryRun: true })
    const over = expected(40)
    const rows = expected(0).rows.filter((row) => !over.rows.includes(row))
    // Of `free` there are two a day.
    const free = rows.filter((row) => row.startsWith('free')).length
    expect(counts['clickhouse rows overdue']).toBe(rows.length + free)
    expect(notes).toContain(
      `clickhouse: ${2 * free} rows of free, the oldest of 2025-01-01T12:00:00.000Z, over by 9.5 days`,
    )
    expect(await held()).toEqual(before)
    expect(entries).toEqual([])
    const letters = expected(0).dead.length - over.dead.length
    const objects = expected(0).objects.length - over.objects.length
    const told = {
      audit: 0,
      clickhouse: rows.length + free,
      s3: objects,
      file: 0,
      'wal/dead_letters': letters,
    }
    expect(await overdue()).toEqual(told)
  })

  it('deletes one tenant’s in one store when asked so', async () => {
    const { counts } = await run({ params: params.parse({ tenant: 'stray', store: 'clickhouse' }) })
    expect(counts).toEqual({ 'clickhouse rows deleted': DAYS.filter((day) => day < 10).length })
    const rest = expected(40)
    const now = await held()
    expect(now.rows.filter((row) => row.startsWith('stray'))).toEqual(
      rest.rows.filter((row) => row.startsWith('stray')),
    )
    expect(now.rows).toContain('free 0')
    await expect(run({ params: params.parse({ store: 'nowhere' }) })).rejects.toMatchObject({
      code: 'NOT_FOUND',
    })
  })

  it.each([40, 119, 393])('leaves exactly what is in its time on day %d', async (today) => {
    entries.length = 0
    nowMs = BEGIN + today * DAY_MS + 2 * 3_600_000
    const before = await held()
    const { counts } = await run()
    const after = await held()
    expect(after).toEqual(expected(today))
    expect(Object.values(await overdue()).every((items) => items === 0)).toBe(true)
    // The look-up of traces has the ids that the spans have.
    const ids = 'SELECT DISTINCT TraceId FROM weir.otel_traces'
    const odd = await sql(
      `SELECT (SELECT count() FROM weir.otel_traces_trace_id_ts WHERE TraceId NOT IN (${ids})), (SELECT count() FROM (${ids}) WHERE TraceId NOT IN (SELECT TraceId FROM weir.otel_traces_trace_id_ts))`,
    )
    expect(odd[0]?.map(Number)).toEqual([0, 0])
    // Each deletion is in the audit log, behind its beginning.
    const deleted = entries.filter(({ outcome }) => outcome === 'ok')
    expect(deleted.every(({ details }) => Number(details?.['begun']) > 0)).toBe(true)
    const sum = deleted.reduce((total, { details }) => total + Number(details?.['items']), 0)
    const told = Object.entries(counts).filter(([name]) => name.endsWith('deleted'))
    expect(sum).toBe(told.reduce((total, [, items]) => total + items, 0))
    expect(before.objects.length - after.objects.length).toBe(counts['s3 objects deleted'] ?? 0)
  })
})

describe('what goes wrong', () => {
  it('deletes nothing when the audit log cannot be written, or not all tenants are known', async () => {
    const before = await held()
    nowMs = BEGIN + 460 * DAY_MS
    const unavailable = () => Promise.reject(retry('AUDIT_UNAVAILABLE', 'no'))
    await expect(
      run({}, job({ audit: { append: unavailable, refused: () => undefined } })),
    ).rejects.toMatchObject({
      code: 'AUDIT_UNAVAILABLE',
    })
    const unread = { ...identity, isWhole: () => false }
    await expect(run({}, job({ identity: unread }))).rejects.toMatchObject({ code: 'STATE_VERSION' })
    expect(await held()).toEqual(before)
  })

  it('does the other stores when one is down, and goes on with that one', async () => {
    let isDown = true
    const flaky: Retainable = {
      store: 'flaky',
      kind: 'traces',
      survey: () =>
        isDown ? Promise.reject(retry('EXPORT_UNAVAILABLE', 'flaky: down')) : Promise.resolve([]),
      expire: () => {
        throw reject('EXPORT_REJECTED', 'not asked')
      },
    }
    let checkpoint: unknown
    const save = (value: unknown): Promise<void> => {
      checkpoint = value
      return Promise.resolve()
    }
    const subject = job({}, () => [flaky, ...retainables()])
    nowMs = BEGIN + 460 * DAY_MS
    await expect(run({ save }, subject)).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
      message: expect.stringContaining('flaky: down') as string,
    })
    expect((await held()).rows).toEqual(expected(460).rows)
    isDown = false
    // The day of the run is that of its beginning.
    nowMs += 100 * DAY_MS
    const { counts } = await run({ save, checkpoint }, subject)
    expect(counts['clickhouse rows deleted']).toBeGreaterThan(0)
    expect((await held()).rows).toEqual(expected(460).rows)
  })
})
