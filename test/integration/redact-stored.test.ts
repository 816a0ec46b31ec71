import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { config } from '../../exporters/clickhouse/config.ts'
import { clickhouse } from '../../exporters/clickhouse/factory.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import type { RedactRequest } from '../../pipeline/redact.ts'
import { config as sanitizerConfig } from '../../processors/sanitizer/config.ts'
import { sanitizer } from '../../processors/sanitizer/factory.ts'
import { exporterContext, RECEIVED_AT_MS, testBatch } from '../contract/exporter.ts'

const clickhouseMaker = await clickhouse.load()
const sanitizerMaker = await sanitizer.load()

const NEVER = new AbortController().signal
const home = mkdtempSync(join(tmpdir(), 'weir-redact-'))
let exporter: Exporter
let redact: (batch: Batch) => Promise<void>

beforeAll(async () => {
  exporter = clickhouseMaker.create(config.parse({ directory: home }), exporterContext('clickhouse'))
  await exporter.start?.()
  const salt = 'a salt that is long enough for tests'
  const rules = sanitizerMaker.create(
    sanitizerConfig.parse({ salt, log_interval: '0s' }),
    exporterContext('sanitizer'),
  )
  await rules.start?.()
  redact = async (batch) => void (await rules.process(batch))
})
afterAll(async () => {
  await exporter.stop?.(NEVER)
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

const ALL: RedactRequest = { fromMs: 0, toMs: RECEIVED_AT_MS + 86_400_000, dryRun: false }

interface Saved {
  checkpoint: unknown
  saves: number
}

/** Runs in which something came out differently. */
const told: string[] = []

/** `dieAt`: the number of the save that does not return; `kept`: whether it was written all the same. */
async function sweep(request: Partial<RedactRequest>, saved: Saved, dieAt = 0, kept = false) {
  return await exporter.redactable!.redact(
    { ...ALL, ...request },
    {
      redact,
      checkpoint: saved.checkpoint,
      save: (checkpoint) => {
        saved.saves++
        if (saved.saves !== dieAt || kept) saved.checkpoint = checkpoint
        return saved.saves === dieAt ? Promise.reject(new Error('killed')) : Promise.resolve()
      },
      changed: (tenant, trace) => Promise.resolve(void told.push(`${tenant} ${trace}`)),
      progress: () => undefined,
    },
    NEVER,
  )
}

async function rows(sql: string): Promise<readonly (readonly unknown[])[]> {
  const limits = { maxRows: 10_000, maxBytes: 1 << 24, timeoutMs: 10_000 }
  return (await exporter.queryable!.query({ sql, params: {}, own: true, ...limits }, NEVER)).rows
}

const attribute = (key: string, stringValue: string) => ({ key, value: { stringValue } })
const at = (day: number): string => String(BigInt(RECEIVED_AT_MS - day * 86_400_000) * 1_000_000n)

let traces = 0
const newTrace = (): string => (++traces).toString(16).padStart(32, '0')

/** Spans of a tenant, stored as they are, three to a trace: one that is dirty everywhere, one in its name, one clean. */
async function store(tenant: string, day: number): Promise<string> {
  const traceId = newTrace()
  const span = (name: string, rest: object = {}) => ({
    traceId,
    name,
    startTimeUnixNano: at(day),
    endTimeUnixNano: at(day),
    ...rest,
  })
  const dirty = {
    attributes: [
      attribute('gen_ai.prompt', '{"to": "ada@example.org", "n": 1}'),
      attribute('user.id', 'ada@example.org'),
      attribute('gen_ai.operation.name', 'chat'),
      attribute('gen_ai.request.model', 'gpt-4o'),
      { key: 'gen_ai.usage.input_tokens', value: { intValue: 12 } },
    ],
    status: { code: 2, message: 'no mail to ada@example.org' },
    events: [{ name: 'e', timeUnixNano: at(day), attributes: [attribute('x', 'ada@example.org')] }],
    links: [{ traceId: newTrace(), spanId: '00000000000000aa', attributes: [attribute('y', 'clean')] }],
  }
  const spans = [span('call', dirty), span('mail ada@example.org'), span('clean')]
  const wal = { seq: traces, row: 0 }
  await exporter.consume(testBatch(spans, { tenant, wal }), NEVER)
  return traceId
}

const HITS =
  "countIf(toString(tuple(SpanName, StatusMessage, SpanAttributes, Events.Attributes, UserId)) LIKE '%ada@example%')"
const KEPT =
  'TenantId, TraceId, SpanId, Timestamp, Duration, StatusCode, InputTokens, CostStatus, RequestModel, EventId, WalSeq, WalRow, `Links.TraceId`, `Events.Timestamp`, `Links.Attributes`'

async function state(tenant: string) {
  const where = `FROM otel_traces WHERE TenantId = '${tenant}'`
  const [counts = []] = await rows(`SELECT toString(count()), toString(${HITS}) ${where}`)
  const kept = await rows(`SELECT ${KEPT} ${where} ORDER BY TraceId, SpanId`)
  return { count: Number(counts[0]), hits: Number(counts[1]), kept }
}

test('replaces what the rules change, wherever it stands, and nothing else', async () => {
  const trace = await store('one', 0)
  const other = await store('one', 3)
  const before = await state('one')
  expect(before).toMatchObject({ count: 6, hits: 4 })
  const dry: Saved = { checkpoint: undefined, saves: 0 }
  expect(await sweep({ tenant: 'one', dryRun: true }, dry)).toEqual({ spans: 6, changed: 4 })
  expect(await state('one')).toEqual(before)
  expect(told).toEqual([])
  expect(await sweep({ tenant: 'one' }, { checkpoint: undefined, saves: 0 })).toEqual({
    spans: 6,
    changed: 4,
  })
  expect(await state('one')).toEqual({ ...before, hits: 0 })
  expect(told.splice(0).sort()).toEqual([`one ${trace}`, `one ${other}`].sort())
  const [call] = await rows(
    `SELECT SpanAttributes['gen_ai.prompt'], UserId, StatusMessage, \`Events.Attributes\`[1]['x'], Redactions, SpanAttributes['gen_ai.usage.input_tokens'] FROM otel_traces WHERE TraceId = '${trace}' AND SpanName = 'call'`,
  )
  expect(call).toEqual([
    '{"to": "[REDACTED_EMAIL]", "n": 1}',
    '[REDACTED_EMAIL]',
    'no mail to [REDACTED_EMAIL]',
    '[REDACTED_EMAIL]',
    4,
    '12',
  ])
  expect(await sweep({ tenant: 'one' }, { checkpoint: undefined, saves: 0 })).toEqual({
    spans: 6,
    changed: 0,
  })
  expect(told).toEqual([])
  expect(
    await rows("SELECT name FROM system.tables WHERE name LIKE '%redact%' AND name != 'redactions'"),
  ).toEqual([])
})

test('of one run only, and of a time only', async () => {
  const trace = await store('two', 0)
  await store('two', 3)
  await expect(
    sweep({ tenant: 'two', run: 'nobody' }, { checkpoint: undefined, saves: 0 }),
  ).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
  const fromMs = RECEIVED_AT_MS - 4 * 86_400_000
  const toMs = RECEIVED_AT_MS - 2 * 86_400_000
  expect(await sweep({ tenant: 'two', run: trace, fromMs: 0 }, { checkpoint: undefined, saves: 0 })).toEqual({
    spans: 3,
    changed: 2,
  })
  expect((await state('two')).hits).toBe(2)
  expect(await sweep({ tenant: 'two', fromMs, toMs }, { checkpoint: undefined, saves: 0 })).toEqual({
    spans: 3,
    changed: 2,
  })
  expect((await state('two')).hits).toBe(0)
})

test('killed at any save, before or after it was written: who goes on comes to the same', async () => {
  for (let dieAt = 1; ; dieAt++) {
    const tenant = `killed${dieAt}`
    await store(tenant, 0)
    const before = await state(tenant)
    const saved: Saved = { checkpoint: undefined, saves: 0 }
    const first = await sweep({ tenant }, saved, dieAt, dieAt % 2 === 0).catch((error: unknown) => error)
    const isOver = !(first instanceof Error)
    if (!isOver) expect(first.message).toContain('killed')
    // Once more from the checkpoint, as another process would; and over what it had just put in place.
    const { changed } = await sweep({ tenant }, saved)
    expect(changed).toBeGreaterThanOrEqual(0)
    expect(await state(tenant)).toEqual({ ...before, hits: 0 })
    if (isOver) break
  }
})
