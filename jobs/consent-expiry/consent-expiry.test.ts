import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import { config as clickhouseConfig } from '../../exporters/clickhouse/config.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import { traceIdOf } from '../../pipeline/agent/ids.ts'
import type { AuditEntry } from '../../pipeline/audit/audit.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { Consents, type NewConsent } from '../../pipeline/consent/consents.ts'
import type { Consent } from '../../pipeline/consent/record.ts'
import { retry } from '../../pipeline/fault.ts'
import type { JobContext, JobReport, Stores, Task } from '../../pipeline/jobs/job.ts'
import type { Redactable, StoredRedactor } from '../../pipeline/redact.ts'
import { DAY_MS, dayKey, dayOf } from '../../pipeline/run-replay/cache-record.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { cursorKey, encodeCursor, newCursor } from '../../pipeline/wal/cursor-record.ts'
import { config as sanitizerConfig } from '../../processors/sanitizer/config.ts'
import { sanitizer } from '../../processors/sanitizer/factory.ts'
import { exporterContext, RECEIVED_AT_MS as BEGIN, testBatch } from '../../test/contract/exporter.ts'
import { config, params } from './config.ts'
import { consentExpiry } from './factory.ts'

const clickhouseMaker = await clickhouse.load()
const consentExpiryMaker = await consentExpiry.load()
const sanitizerMaker = await sanitizer.load()

/** Real state, ClickHouse and sanitizer, over which days pass. */

const NEVER = new AbortController().signal
const RAW = 'raw_trace_storage'
const CACHING = 'llm_response_caching'
const home = mkdtempSync(join(tmpdir(), 'weir-consent-expiry-'))
let exporter: Exporter
let state: EmbeddedState
let consents: Consents
let nowMs: number
let audited: AuditEntry[]
let stores: Pick<Stores, 'redactors' | 'redactables'>
/** How far the log is that feeds ClickHouse. */
let head: number
let checkpoint: unknown
/** Each test has tenants of its own. */
let tests = 0
let acme: string
let globex: string

beforeAll(async () => {
  const settings = clickhouseConfig.parse({ directory: join(home, 'ch') })
  exporter = clickhouseMaker.create(settings, exporterContext('clickhouse'))
  await exporter.start?.()
  state = new EmbeddedState(join(home, 'state'))
  await state.open()
})
afterAll(async () => {
  await exporter.stop?.(NEVER)
  await state.close()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

beforeEach(async () => {
  nowMs = BEGIN
  audited = []
  checkpoint = undefined
  head = 0
  acme = `acme${++tests}`
  globex = `globex${tests}`
  await state.forget(stateKey('identity'))
  consents = new Consents(state, { tenant: () => Promise.resolve({} as never) }, () => nowMs)
  const redactor = await redactorOf({})
  stores = { redactors: () => [redactor], redactables: () => new Map([['clickhouse', exporter.redactable!]]) }
})

async function redactorOf(options: object): Promise<StoredRedactor> {
  const settings = sanitizerConfig.parse({
    salt: 'a salt that is long enough for tests',
    log_interval: '0s',
    ...options,
  })
  const made = sanitizerMaker.create(settings, exporterContext('sanitizer'))
  await made.start?.()
  return {
    id: 'sanitizer',
    rules: 'now',
    spares: (tenant) => made.spares?.(tenant) ?? false,
    redact: async (batch) => void (await made.process(batch)),
  }
}

const grant = (tenant: string, type: NewConsent['type'], days?: number, runs?: string[]): Promise<Consent> =>
  consents.grant(tenant, {
    type,
    granted_by: 'Ada',
    ...(days !== undefined && { expires_ms: nowMs + days * DAY_MS }),
    ...(runs !== undefined && { runs }),
  })

async function run(given: Partial<Task> = {}, more: Partial<JobContext> = {}): Promise<JobReport> {
  const audit = {
    append: (entry: AuditEntry) => Promise.resolve(audited.push(entry)),
    refused: () => undefined,
  }
  const feeders = [{ connector: 'wal', cursor: 'traces/store/clickhouse' }]
  const fed = {
    exporters: () => [{ id: 'clickhouse', pipelines: ['traces/store'], exporter }],
    logs: () => [{ connector: 'wal', head: () => Promise.resolve(head) }],
    route: () => ({ feeders }),
  }
  const context = {
    ...exporterContext('consent_expiry'),
    state,
    audit,
    stores: { ...fed, ...stores },
    ...more,
  } as unknown as JobContext
  const task: Task = {
    job: 'consent_expiry',
    id: '1',
    scheduledAtMs: nowMs,
    dryRun: false,
    params: params.parse({}),
    by: 'schedule',
    checkpoint: undefined,
    save: (at) => Promise.resolve(void (checkpoint = at)),
    progress: () => undefined,
    clock: () => nowMs,
    ...given,
  }
  return await consentExpiryMaker.create(config.parse({}), context).run(task, NEVER)
}

const traceOf = (tenant: string, id: string): string => traceIdOf(tenant, id).toString('hex')

/** A raw span of a run, and one that somebody else added to its trace. `atMs`: its start. */
async function record(tenant: string, id: string, atMs = BEGIN - DAY_MS): Promise<void> {
  const time = String(BigInt(atMs) * 1_000_000n)
  const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } })
  const span = {
    traceId: traceOf(tenant, id),
    startTimeUnixNano: time,
    endTimeUnixNano: time,
    name: 'mail ada@example.org',
  }
  const own = [attribute('agent.run.id', id)]
  await exporter.consume(testBatch([{ ...span, attributes: own }, span], { tenant }), NEVER)
}

/** Spans that are still raw, by run. */
async function raw(tenant: string): Promise<Record<string, number>> {
  const sql = `SELECT TraceId, toString(countIf(SpanName LIKE '%ada@%')), toString(count()) FROM otel_traces WHERE TenantId = '${tenant}' GROUP BY TraceId`
  const limits = { maxRows: 1000, maxBytes: 1 << 20, timeoutMs: 10_000 }
  const { rows } = await exporter.queryable!.query({ sql, params: {}, own: true, ...limits }, NEVER)
  const names = new Map(['one', 'two', 'three'].map((id) => [traceOf(tenant, id), id]))
  expect(rows.map(([, , all]) => all)).toEqual(rows.map(() => '2'))
  return Object.fromEntries(rows.map(([trace, hits]) => [names.get(String(trace)), Number(hits)]))
}

const keep = (tenant: string, id: string, ms = nowMs): Promise<number> =>
  state.put(dayKey(dayOf(ms), tenant, traceOf(tenant, id), '1-0'), Buffer.from('sealed'))

const answers = async (tenant: string): Promise<string[]> =>
  (await state.list(stateKey('replay')))
    .map(({ key }) => key.split('.'))
    .filter(([, , of]) => of === tenant)
    .map(([, , , trace]) => ['one', 'two', 'three'].find((id) => traceOf(tenant, id) === trace) ?? '?')
    .toSorted()

it('deletes the answers that only an expired consent allowed, of its runs and its tenant', async () => {
  for (const id of ['one', 'two']) {
    await keep(acme, id)
    await keep(acme, id, nowMs - 3 * DAY_MS)
    await keep(globex, id)
  }
  await grant(acme, CACHING, 2, ['one', 'two'])
  const holds = await grant(acme, CACHING, undefined, ['two'])
  await grant(globex, CACHING, 30)
  expect((await run()).counts).toEqual({})
  nowMs += 2 * DAY_MS
  expect((await run({ dryRun: true })).counts).toEqual({ [CACHING]: 1, cached_records: 2 })
  expect(await answers(acme)).toEqual(['one', 'one', 'two', 'two'])
  expect(audited).toEqual([])
  expect((await run()).counts).toEqual({ [CACHING]: 1 })
  expect(await answers(acme)).toEqual(['two', 'two'])
  expect(await answers(globex)).toEqual(['one', 'two'])
  await consents.revoke(acme, holds.id, 'Ada')
  await run()
  expect(await answers(acme)).toEqual([])
  expect(await answers(globex)).toEqual(['one', 'two'])
})

it('of a consent for all runs leaves the run that another one still allows, and all where one allows all', async () => {
  for (const id of ['one', 'two']) await keep(acme, id)
  await grant(acme, CACHING, 1)
  await grant(acme, CACHING, 3, ['one'])
  const all = await grant(acme, CACHING, 2)
  nowMs += DAY_MS
  await run()
  expect(await answers(acme)).toEqual(['one', 'two'])
  await consents.revoke(acme, all.id, 'Ada')
  await run()
  expect(await answers(acme)).toEqual(['one'])
  nowMs += 2 * DAY_MS
  await run()
  expect(await answers(acme)).toEqual([])
})

it('redacts the traces of a run whose consent is over, with what others added, and no other', async () => {
  for (const id of ['one', 'two', 'three']) await record(acme, id)
  await record(globex, 'one')
  await grant(acme, RAW, 2, ['one', 'two', 'gone'])
  await grant(acme, RAW, 9, ['two'])
  await grant(globex, RAW, 9)
  nowMs += 2 * DAY_MS
  const would = { [RAW]: 1, spans: 4, would_change: 2 }
  expect((await run({ dryRun: true })).counts).toEqual(would)
  expect(await raw(acme)).toEqual({ one: 2, two: 2, three: 2 })
  expect((await run()).counts).toEqual({ [RAW]: 1, spans: 4, changed: 2 })
  expect(await raw(acme)).toEqual({ one: 0, two: 2, three: 2 })
  expect(await raw(globex)).toEqual({ one: 2 })
})

it('redacts all of a tenant but the run that is still allowed', async () => {
  for (const id of ['one', 'two', 'three']) await record(acme, id)
  await record(globex, 'one')
  await grant(acme, RAW, undefined, ['two'])
  const all = await grant(acme, RAW)
  await consents.revoke(acme, all.id, 'Ada')
  expect((await run()).counts).toEqual({ [RAW]: 1, spans: 6, changed: 4 })
  expect(await raw(acme)).toEqual({ one: 0, two: 2, three: 0 })
  expect(await raw(globex)).toEqual({ one: 2 })
})

it('acts twice, `behind` apart, for what was on its way, each time with an audit entry; then no more', async () => {
  await record(acme, 'one')
  await record(acme, 'two', BEGIN + DAY_MS - 60_000)
  const { id } = await grant(acme, RAW, 1)
  const other = await grant(acme, 'analytics', 1)
  nowMs += DAY_MS
  await run()
  expect(await raw(acme)).toEqual({ one: 0, two: 2 })
  // Too early for the second.
  nowMs += 60_000
  expect((await run()).counts).toEqual({})
  expect(audited.map(({ object, outcome }) => [object, outcome])).toEqual([
    [other.id, 'begun'],
    [other.id, 'ok'],
    [id, 'begun'],
    [id, 'ok'],
  ])
  expect(audited[3]).toMatchObject({
    actor: { id: 'consent_expiry', kind: 'job' },
    action: 'consent.end',
    tenant: acme,
    legalBasis: 'consent_expiry',
    details: { begun: 3, type: RAW, pass: 1, spans: 2, changed: 2 },
  })
  await record(acme, 'three', BEGIN)
  nowMs += DAY_MS
  await run()
  expect(await raw(acme)).toEqual({ one: 0, two: 0, three: 0 })
  expect(audited[5]).toMatchObject({ outcome: 'ok', details: { pass: 2, spans: 6, changed: 4 } })
  nowMs += DAY_MS
  expect((await run()).counts).toEqual({})
  expect(audited).toHaveLength(6)
})

it('acts the second time when what was on its way is stored', async () => {
  const at = async (position: number) =>
    state.put(
      cursorKey('wal', 'traces/store/clickhouse'),
      encodeCursor(newCursor('traces/store/clickhouse', position, nowMs)),
    )
  await record(acme, 'one')
  await grant(acme, RAW, 1)
  nowMs += DAY_MS
  head = 9
  await at(3)
  await run()
  nowMs += DAY_MS
  head = 50
  const report = await run()
  expect(report.counts).toEqual({})
  expect(report.notes).toEqual([expect.stringMatching(/ waits for traces\/store\/clickhouse, /)])
  await record(acme, 'two')
  await at(10)
  await run()
  expect(await raw(acme)).toEqual({ one: 0, two: 0 })
  expect(audited.map(({ details }) => details?.['pass'])).toEqual([1, 1, 2, 2])
})

it('fails where it could only pretend, does the rest, and does it once that is mended', async () => {
  await record(acme, 'one')
  await keep(acme, 'one')
  await grant(acme, RAW, 1)
  await grant(acme, CACHING, 1)
  nowMs += DAY_MS
  const { redactors, redactables } = stores
  const spares = await redactorOf({ tenants: { [acme]: { mode: 'none' } } })
  const reasons: [typeof stores, RegExp][] = [
    [{ redactors: () => [], redactables }, /no ingest pipeline before a log has a processor that redacts/],
    [{ redactors: () => [spares], redactables }, /sanitizer leaves everything of tenant acme\d+ as it is/],
    [{ redactors, redactables: () => new Map() }, /no exporter here can be redacted/],
  ]
  for (const [broken, reason] of reasons) {
    stores = broken
    await expect(run()).rejects.toMatchObject({
      code: 'EXPORT_REJECTED',
      verdict: { do: 'reject' },
      message: expect.stringMatching(reason) as string,
    })
    expect(audited.at(-1)).toMatchObject({
      outcome: 'failed',
      details: { type: RAW, reason: expect.stringMatching(reason) as string },
    })
  }
  expect(await answers(acme)).toEqual([])
  expect(await raw(acme)).toEqual({ one: 2 })
  stores = { redactors, redactables }
  expect((await run({ dryRun: true })).counts).toEqual({ [RAW]: 1, spans: 2, would_change: 2 })
})

it('goes on from its checkpoint wherever it was killed: what is done is not done again', async () => {
  await grant(acme, RAW, 1, ['one', 'two'])
  await grant(globex, RAW, 1)
  await grant(globex, 'analytics', 1)
  nowMs += DAY_MS
  let asked: string[] = []
  const store = (name: string): Redactable => ({
    async redact({ tenant, run: of = 'all' }, work) {
      asked.push(`${name} ${tenant} ${of} ${(work.checkpoint as string | undefined) ?? 'anew'}`)
      if (work.checkpoint === undefined) await work.save(`${name} ${of}`)
      return { spans: 2, changed: 1 }
    },
  })
  const { redactors } = stores
  const all = ['a', 'b'].map((name) => [name, store(name)] as const)
  stores = { redactors, redactables: () => new Map(all) }
  const units = [
    `a ${acme} one`,
    `b ${acme} one`,
    `a ${acme} two`,
    `b ${acme} two`,
    `a ${globex} all`,
    `b ${globex} all`,
  ]
  for (let dieAt = 1; ; dieAt++) {
    await state.forget(stateKey('consent-ended'))
    asked = []
    checkpoint = undefined
    let saves = 0
    const save = (at: unknown): Promise<void> => {
      checkpoint = JSON.parse(JSON.stringify(at))
      return ++saves === dieAt ? Promise.reject(new Error('killed')) : Promise.resolve()
    }
    const killed = await run({ save }).then(
      () => false,
      (error: unknown) => String(error).includes('killed'),
    )
    // A day may have passed: the run judges by when it began.
    if (killed) await run({ checkpoint, clock: () => nowMs + DAY_MS })
    const begun = asked.filter((line) => line.endsWith(' anew'))
    expect(begun.map((line) => line.slice(0, -5))).toEqual(units)
    const resumed = asked.filter((line) => !line.endsWith(' anew'))
    expect(resumed.length).toBeLessThanOrEqual(1)
    for (const line of resumed) expect(line).toMatch(/^(\w) \w+ (\w+) \1 \2$/)
    expect(await state.list(stateKey('consent-ended'))).toHaveLength(3)
    if (!killed) break
    expect(dieAt).toBeLessThan(30)
  }
  expect(asked).toHaveLength(6)
})

it('takes nothing away that it cannot log, or while a consent cannot be read', async () => {
  await keep(acme, 'one')
  await grant(acme, CACHING, 1)
  nowMs += DAY_MS
  const append = (): Promise<number> => Promise.reject(retry('AUDIT_UNAVAILABLE', 'no log'))
  await expect(run({}, { audit: { append, refused: () => undefined } })).rejects.toThrow('no log')
  expect(await answers(acme)).toEqual(['one'])
  await state.put(stateKey('identity', 'consent', acme, 'newer'), Buffer.from('{"v":2}'))
  await expect(run()).rejects.toMatchObject({ code: 'STATE_VERSION' })
  expect(await answers(acme)).toEqual(['one'])
})
