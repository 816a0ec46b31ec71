import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { COST_STATUS, COSTS } from '../../pipeline/batch/facts.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import { hintText } from '../../pipeline/genai/price-hints.ts'
import type { RepricedModel, RepriceRequest } from '../../pipeline/reprice.ts'
import { config as clickhouseConfig } from '../../exporters/clickhouse/config.ts'
import { openEmbedded } from '../../exporters/clickhouse/embedded.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import { config as costConfig } from '../../processors/cost/config.ts'
import { CostProcessor } from '../../processors/cost/cost.ts'
import { startClickHouse } from '../clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery, type TestSpan } from '../contract/exporter.ts'

const clickhouseMaker = await clickhouse.load()

/** Stored calls priced again: what stands in the table afterwards is what the new prices would have given at once. */

const NEVER = new AbortController().signal
const DAY_MS = 86_400_000
const FIRST_DAY = Date.UTC(2026, 7, 1)
const folder = mkdtempSync(join(tmpdir(), 'weir-reprice-'))

afterAll(() => rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))

type Prices = Record<string, unknown>

/** A cost processor over a price table of the test's own. */
async function pricing(version: string, models: readonly Prices[], overrides: readonly Prices[] = []) {
  const file = join(folder, `${version}.json`)
  writeFileSync(file, JSON.stringify({ version, models }))
  const processor = new CostProcessor(
    costConfig.parse({ price_file: file, overrides }),
    exporterContext('cost'),
  )
  await processor.start()
  return processor
}

const model = (id: string, ...periods: readonly Prices[]): Prices => ({
  provider: 'openai',
  id,
  geo: { us: '1.1', eu: '1.1' },
  fast: '2',
  periods,
})

const OLD = [
  model('alpha', { input: '1', output: '4', cacheRead: '0.1', batch: { input: '0.5', output: '2' } }),
  model('gone', { input: '7', output: '7' }),
]
/** Cheaper at night, dearer from the second day at noon, with a tier; one model more, one less. */
const NEW = [
  model(
    'alpha',
    {
      input: '2',
      output: '8',
      tiers: [{ over: 1000, input: '3', output: '9.5' }],
      batch: { input: '1.5', output: '2' },
    },
    { input: '1.5', output: '6', hours: ['00:00', '06:00'] },
    { from: '2026-08-02T12:00:00Z', input: '4.3333', output: '16' },
  ),
  model('beta', { input: '0.123456789', output: '1' }),
]

const MODELS = ['alpha', 'beta', 'gone', 'nobodys', '']

/** A call that differs from its neighbours in all that a price depends on. */
function call(i: number): TestSpan {
  const attributes: Record<string, unknown> = {
    'gen_ai.operation.name': i % 11 === 0 ? 'execute_tool' : 'chat',
    'gen_ai.provider.name': 'openai',
    ...(MODELS[i % 5] === '' ? {} : { 'gen_ai.request.model': MODELS[i % 5] }),
    ...(i % 7 === 0 ? { 'server.address': i % 2 === 0 ? 'us.api.openai.com' : 'eu.api.openai.com' } : {}),
    ...(i % 13 === 0 ? { 'gen_ai.request.batch': true } : {}),
    ...(i % 17 === 0 ? { 'gen_ai.usage.cost': 0.25 } : {}),
    ...(i % 19 === 0 ? {} : { 'gen_ai.usage.input_tokens': 10 * i, 'gen_ai.usage.output_tokens': i }),
    ...(i % 3 === 0 ? { 'gen_ai.usage.cache_read.input_tokens': 4 * i } : {}),
  }
  const start = BigInt(FIRST_DAY) * 1_000_000n + (BigInt(i % 300) * 3n * BigInt(DAY_MS) * 1_000_000n) / 300n
  return {
    spanId: (i + 1).toString(16).padStart(16, '0'),
    startTimeUnixNano: String(start),
    endTimeUnixNano: String(start + 1_000_000n),
    attributes: Object.entries(attributes).map(([key, value]) => ({ key, value: anyValue(value) })),
  }
}

function anyValue(value: unknown): object {
  if (typeof value === 'boolean') return { boolValue: value }
  if (typeof value === 'string') return { stringValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

let lastSeq = 0

/** A batch at a place of its own in the WAL. */
function calls(from: number, to: number, tenant: string): Batch {
  const spans = Array.from({ length: to - from }, (_, i) => call(from + i))
  return testBatch(spans, { tenant, wal: { seq: ++lastSeq, row: 0 } })
}

async function store(exporter: Exporter, batch: Batch): Promise<void> {
  const seq = batch.meta.wal?.seq ?? 0
  await exporter.deliver?.(testDelivery([batch], { from: seq, to: seq, token: `t-${seq}` }), NEVER)
}

const COLUMNS = ['SpanId', ...COSTS, 'CostStatus', 'CostReason', 'PriceModel', 'PriceVersion', 'PriceHints']

/** The cost columns of what is stored, in order. */
async function stored(exporter: Exporter, tenant: string): Promise<readonly string[]> {
  const answer = await exporter.queryable?.query(
    {
      sql: `SELECT ${COLUMNS.map((name) => `toString(${name}) AS \`${name}_\``).join(', ')} FROM otel_traces WHERE TenantId = {tenant:String} ORDER BY SpanId`,
      params: { tenant },
      maxRows: 100_000,
      maxBytes: 1 << 28,
      timeoutMs: 20_000,
    },
    NEVER,
  )
  return (answer?.rows ?? []).map((row) => row.join(' '))
}

/** The same of a batch that the processor prices now: what must be stored. */
function expected(processor: CostProcessor, batch: Batch): readonly string[] {
  batch.facts = undefined
  processor.process(batch)
  const facts = factsOf(batch)
  return Array.from({ length: batch.rows }, (_, row) =>
    [
      Buffer.from(batch.spanId(row)).toString('hex'),
      ...COSTS.map((_, part) => decimal(facts.cost[row * COSTS.length + part] ?? 0n)),
      COST_STATUS[facts.costStatus[row] ?? 0],
      facts.costReason.at(row),
      facts.priceModel.at(row),
      facts.priceVersion.at(row),
      hintText(facts.priceHints.get(row)),
    ].join(' '),
  ).sort()
}

function decimal(units: bigint): string {
  const text = units.toString().padStart(13, '0')
  return `${text.slice(0, -12)}.${text.slice(-12)}`.replace(/\.?0+$/, '')
}

/** As the verb does it: again and again from where the daemon stopped. */
async function reprice(
  exporter: Exporter,
  processor: CostProcessor,
  request: Partial<RepriceRequest> = {},
): Promise<{ models: readonly RepricedModel[]; requests: number }> {
  const models: RepricedModel[] = []
  let fromMs: number | undefined = request.fromMs ?? FIRST_DAY
  let requests = 0
  while (fromMs !== undefined) {
    const whole: RepriceRequest = {
      toMs: FIRST_DAY + 3 * DAY_MS,
      dryRun: false,
      budgetMs: 20_000,
      ...request,
      fromMs,
    }
    const answer = await exporter.repriceable?.reprice(whole, processor.reprice, NEVER)
    models.push(...(answer?.models ?? []))
    fromMs = answer?.nextMs
    requests++
  }
  return { models, requests }
}

const sum = (models: readonly RepricedModel[], of: (each: RepricedModel) => number): number =>
  models.reduce((total, each) => total + of(each), 0)

describe.each(['embedded', 'server'])('%s', (kind) => {
  let server: Awaited<ReturnType<typeof startClickHouse>> | undefined
  let exporter: Exporter
  let before: CostProcessor
  let after: CostProcessor
  let databases = 0

  beforeAll(async () => {
    if (kind === 'server') server = await startClickHouse()
    before = await pricing('old', OLD)
    after = await pricing('new', NEW, [
      { tenant: 'acme', model: 'alpha', input: 0.7, output: 0.9, from: '2026-08-03' },
    ])
  })
  afterEach(() => exporter.stop?.(NEVER))
  afterAll(() => server?.close())

  async function open(): Promise<Exporter> {
    const place = server === undefined ? { directory: join(folder, 'data') } : { endpoint: server.url }
    const database = `db${++databases}`
    exporter = clickhouseMaker.create(
      clickhouseConfig.parse({ ...place, database }),
      exporterContext('clickhouse'),
    )
    await exporter.start?.()
    return exporter
  }

  test('every cost column comes out as if the new prices had been there at once', async () => {
    await open()
    const batches = [calls(0, 2000, 'acme'), calls(2000, 3000, 'acme'), calls(0, 1500, 'other')]
    for (const batch of batches) {
      before.process(batch)
      await store(exporter, batch)
    }
    const wanted = (tenant: string) =>
      batches
        .filter(({ meta }) => meta.tenant === tenant)
        .flatMap((batch) => expected(after, batch))
        .sort()
    const old = await stored(exporter, 'acme')

    const dry = await reprice(exporter, after, { dryRun: true })
    expect(await stored(exporter, 'acme')).toEqual(old)

    const done = await reprice(exporter, after, { tenant: 'acme' })
    expect(await stored(exporter, 'acme')).toEqual(wanted('acme'))
    expect((await stored(exporter, 'other')).join()).not.toContain('new')

    const rest = await reprice(exporter, after)
    expect(await stored(exporter, 'other')).toEqual(wanted('other'))
    expect(sum(done.models, (each) => each.changed) + sum(rest.models, (each) => each.changed)).toBe(
      sum(dry.models, (each) => each.changed),
    )
    const again = await reprice(exporter, after)
    expect(sum(again.models, (each) => each.changed)).toBe(0)
    expect(sum(again.models, (each) => each.calls)).toBe(sum(dry.models, (each) => each.calls))
    expect(again.models.every(({ oldUsd, newUsd }) => oldUsd === newUsd)).toBe(true)
    const gone = done.models.find((each) => each.model === 'gone')
    expect(gone?.newUnpriced).toBeGreaterThan(gone?.oldUnpriced ?? 0)
  })

  test('only calls of the time that was named, whatever the budget', async () => {
    await open()
    const batch = calls(0, 900, 'acme')
    before.process(batch)
    await store(exporter, batch)
    const old = await stored(exporter, 'acme')
    const [fromMs, toMs] = [FIRST_DAY + DAY_MS / 2, FIRST_DAY + 2.5 * DAY_MS]
    const { requests } = await reprice(exporter, after, { fromMs, toMs, budgetMs: 0 })
    expect(requests).toBeGreaterThan(2)
    const wanted = expected(after, batch)
    const inside = (row: string): boolean => {
      const i = Number.parseInt(row.slice(0, 16), 16) - 1
      const ms = FIRST_DAY + Math.floor(((i % 300) * 3 * DAY_MS) / 300)
      return ms >= fromMs && ms < toMs
    }
    expect(await stored(exporter, 'acme')).toEqual(old.map((row, i) => (inside(row) ? wanted[i] : row)))
  })

  test('beside inserts in flight no row is lost, doubled or priced by halves', async () => {
    await open()
    const first = calls(0, 3000, 'acme')
    before.process(first)
    await store(exporter, first)
    const later = Array.from({ length: 12 }, (_, i) => calls(3000 + 100 * i, 3100 + 100 * i, 'acme'))
    for (const batch of later) after.process(batch)
    const running = reprice(exporter, after, { budgetMs: 0 })
    for (const batch of later) await store(exporter, batch)
    await running
    const wanted = [first, ...later].flatMap((batch) => expected(after, batch)).sort()
    expect(await stored(exporter, 'acme')).toEqual(wanted)
  })

  test('leaves no table and no mutation behind, and takes a failed one back', async () => {
    await open()
    const batch = calls(0, 300, 'acme')
    before.process(batch)
    await store(exporter, batch)
    if (server !== undefined) {
      server.intercept = ({ sql }) =>
        / UPDATE .* IN PARTITION /.test(sql)
          ? { status: 500, code: 241, message: 'Memory limit exceeded' }
          : undefined
      await expect(reprice(exporter, after)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
      server.intercept = undefined
    }
    const broken = () => {
      throw new Error('no prices today')
    }
    const request = { fromMs: FIRST_DAY, toMs: FIRST_DAY + 3 * DAY_MS, dryRun: false, budgetMs: 1000 }
    await expect(exporter.repriceable?.reprice(request, broken, NEVER)).rejects.toThrow('no prices today')
    await reprice(exporter, after)
    const left = await exporter.queryable?.query(
      {
        sql: "SELECT name FROM system.tables WHERE name LIKE '%reprice%' UNION ALL SELECT mutation_id FROM system.mutations WHERE NOT is_done",
        params: {},
        own: true,
        maxRows: 10,
        maxBytes: 1 << 20,
        timeoutMs: 5000,
      },
      NEVER,
    )
    expect(left?.rows).toEqual([])
  })

  test.skipIf(kind === 'server')('kills a mutation that keeps failing, and then goes on', async () => {
    await open()
    const batch = calls(0, 300, 'acme')
    before.process(batch)
    await store(exporter, batch)
    const connection = await openEmbedded({
      directory: join(folder, 'data'),
      database: `db${databases}`,
      markCacheBytes: 1 << 20,
      maxMemoryBytes: 2 ** 31,
    })
    await connection.command(
      `ALTER TABLE db${databases}.otel_traces UPDATE CostReason = toString(throwIf(ModelCall = 1, 'otel_traces_reprice_bad')) WHERE 1 SETTINGS mutations_sync = 0`,
    )
    await expect(reprice(exporter, after)).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
      message: expect.stringContaining('otel_traces_reprice_bad') as string,
    })
    await reprice(exporter, after)
    expect(await stored(exporter, 'acme')).toEqual(expected(after, batch))
    await connection.close()
  })
})
