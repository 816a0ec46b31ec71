import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { standardRequest } from '../../bench/shape.ts'
import { scaled, USD_DIGITS } from '../../pipeline/genai/decimal.ts'
import { dist, startDaemon, type Daemon } from '../support/daemon.ts'
import { S3Server } from '../support/s3-server.ts'
import { until } from '../support/until.ts'

/**
 * `weir replay pipeline` against a daemon with a WAL, a table, and an archive in S3; another table comes later. The long
 * form of it: WEIR_REPLAY_SPANS=1000000.
 */

const EACH = 512
const REQUESTS = Math.ceil(Number(process.env['WEIR_REPLAY_SPANS'] ?? 3072) / EACH)
const SPANS = REQUESTS * EACH
const LONG_MS = 120_000 + SPANS * 2

let daemon: Daemon
let s3: S3Server

/** Every model at so many USD per million tokens. */
const configOf = (usd: number, more: { masks?: boolean; late?: boolean } = {}): string => `
receivers:
  otlp: { protocols: { http: {} } }
processors:
  cost: { overrides: [{ model: '*', input: ${usd}, output: ${usd} }] }
  sanitizer: { mode: mask }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded, batch: { max_wait: 50ms } }
${more.late === true ? `  clickhouse/late: { endpoint: embedded, directory: "${daemon.directory}/clickhouse", traces_table_name: late_traces }` : ''}
  s3:
    marshaler: otlp_json
    s3uploader: ${JSON.stringify({ ...s3.place, s3_prefix: 'weir' })}
    batch: { max_wait: 200ms }
extensions: { state: {}, health: {}, api: {} }
jobs:
  replay: { chunk_spans: ${Math.min(32_768, SPANS / 3)} }
service:
  extensions: [state, health, api]
  jobs: [replay]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [${more.masks === true ? 'sanitizer, ' : ''}cost], exporters: [clickhouse, s3] }
${more.late === true ? '    traces/late: { receivers: [wal], processors: [cost], exporters: [clickhouse/late] }' : ''}
`

interface RunAnswer {
  readonly status: string
  readonly report?: { readonly counts: Readonly<Record<string, number>>; readonly notes: readonly string[] }
  readonly progress?: { readonly done: number }
  readonly error?: string
}

async function weir(...args: string[]) {
  const child = spawn(process.execPath, [
    join(dist, 'cmd/main.js'),
    ...args,
    '--endpoint',
    daemon.endpoints.api,
  ])
  let out = ''
  let err = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out, err }
}

interface Asked {
  readonly exporter?: string
  readonly [param: string]: unknown
}

/** By the API, as `weir replay pipeline` does it; gives the id of the run. */
async function ask(params: Asked): Promise<string> {
  const answer = await fetch(`${daemon.endpoints.api}/v1/jobs/replay/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ params }),
  })
  const { run, detail } = (await answer.json()) as { run?: string; detail?: string }
  if (run === undefined) throw new Error(detail)
  return run
}

async function look(run: string): Promise<RunAnswer> {
  const answer = await fetch(`${daemon.endpoints.api}/v1/jobs/replay/runs/${run}`)
  return ((await answer.json()) as { run: RunAnswer }).run
}

/** How it ended. */
async function ended(run: string): Promise<RunAnswer> {
  let answer: RunAnswer | undefined
  await until(async () => {
    answer = await look(run)
    return ['success', 'failure'].includes(answer.status)
  }, LONG_MS)
  return answer as RunAnswer
}

async function replayed(params: Asked): Promise<Readonly<Record<string, number>>> {
  const { status, error, report } = await ended(await ask(params))
  expect(status, error).toBe('success')
  return report?.counts ?? {}
}

async function totals(table = 'otel_traces') {
  const sql = `SELECT count(), uniqExact(EventId), toString(sum(CostUsd)), toString(groupBitXor(cityHash64(EventId, SpanName, CostUsd, SpanAttributes))) FROM ${table}`
  const [row] = await daemon.query(sql)
  return {
    rows: Number(row?.[0]),
    events: Number(row?.[1]),
    pico: scaled(String(row?.[2]), USD_DIGITS) ?? -1n,
    hash: String(row?.[3]),
  }
}

async function reload(config: string): Promise<void> {
  await writeFile(join(daemon.directory, 'weir.yaml'), config)
  const answer = await fetch(`${daemon.endpoints.api}/-/reload`, { method: 'POST' })
  expect(answer.status, await answer.text()).toBe(200)
}

const archivedSpans = async (): Promise<number> => {
  const manifests = (await s3.keys('weir/_manifests')).filter((key) => key.endsWith('.json'))
  const bodies = await Promise.all(manifests.map((key) => s3.get(key)))
  return bodies.reduce((sum, body) => sum + (JSON.parse(body.toString()) as { rows: number }).rows, 0)
}

const STORE = { pipeline: 'traces/store', exporter: 'clickhouse' }

beforeAll(async () => {
  s3 = await S3Server.start()
  daemon = await startDaemon({ config: configOf(1) })
  await daemon.ready()
  for (let seed = 0; seed < REQUESTS; seed++) {
    const answer = await fetch(`${daemon.endpoints.http}/v1/traces`, {
      method: 'POST',
      headers: { 'content-type': 'application/x-protobuf' },
      body: standardRequest(seed + 1, EACH),
    })
    expect(answer.status).toBe(200)
  }
  await until(async () => (await totals()).rows === SPANS, LONG_MS)
  await until(async () => (await archivedSpans()) === SPANS, LONG_MS)
}, LONG_MS)
afterAll(async () => {
  await daemon?.stop()
  await s3?.close()
})

it('adds nothing to a table that has it all, from the WAL and from S3', { timeout: LONG_MS }, async () => {
  const before = await totals()
  const which = ['--pipeline', 'traces/store', '--exporter', 'clickhouse']
  const { code, out, err } = await weir('replay', 'pipeline', ...which, '--dry-run', '--json')
  expect({ code, err }, out).toEqual({ code: 0, err: '' })
  expect((JSON.parse(out) as RunAnswer).report?.counts).toMatchObject({
    spans: SPANS,
    present: SPANS,
    absent: 0,
    tenants: 1,
    read: SPANS,
  })
  for (const source of ['wal', 's3:s3']) {
    const started = performance.now()
    const counts = await replayed({ ...STORE, source })
    expect(counts).toMatchObject({ spans: SPANS, already_there: SPANS, added: 0 })
    const seconds = (performance.now() - started) / 1000
    if (SPANS > 100_000) process.stdout.write(`${source}: ${SPANS} spans in ${seconds.toFixed(1)} s\n`)
  }
  expect(await totals()).toEqual(before)
})

it('gives stored calls the prices of now, and no row twice', { timeout: LONG_MS }, async () => {
  const before = await totals()
  await reload(configOf(2))
  const counts = await replayed({ ...STORE, source: 's3:s3', reprice: true })
  expect(counts).toMatchObject({ spans: SPANS, added: 0 })
  expect(counts['repriced']).toBeGreaterThan(SPANS / 2)
  const after = await totals()
  expect(after).toMatchObject({ rows: SPANS, events: SPANS, pico: before.pico * 2n })
})

it(
  'fills a table that is new, goes on after kill -9, and comes to the same',
  { timeout: LONG_MS },
  async () => {
    await reload(configOf(2, { late: true }))
    const run = await ask({ pipeline: 'traces/late', source: 's3:s3', rate: Math.ceil(SPANS / 3) })
    await until(async () => ((await look(run)).progress?.done ?? 0) > 0, LONG_MS)
    expect(daemon.killStore()).toBeTypeOf('number')
    expect(await ended(run)).toMatchObject({ status: 'success', report: { counts: { spans: SPANS } } })
    const late = await totals('late_traces')
    expect(late).toEqual(await totals())
    expect(late).toMatchObject({ rows: SPANS, events: SPANS })
    // From the other source: there is nothing left to do.
    expect(await replayed({ pipeline: 'traces/late', source: 'wal' })).toMatchObject({ added: 0 })
  },
)

it('replaces a run by what the pipeline makes of it now', { timeout: LONG_MS }, async () => {
  const span = (id: string, prompt: string) => ({
    traceId: 'feedfacefeedfacefeedfacefeedface',
    spanId: id,
    name: 'chat',
    startTimeUnixNano: '1785542400000000000',
    endTimeUnixNano: '1785542401000000000',
    attributes: [{ key: 'gen_ai.prompt', value: { stringValue: prompt } }],
  })
  const spans = [span('00000000000000a1', 'write to ada@example.com'), span('00000000000000a2', 'hello')]
  await fetch(`${daemon.endpoints.http}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] }),
  })
  const prompts = async () => {
    const sql = `SELECT SpanAttributes['gen_ai.prompt'] FROM otel_traces WHERE TraceId = 'feedfacefeedfacefeedfacefeedface' ORDER BY SpanId`
    return (await daemon.query(sql)).map(([text]) => text)
  }
  await until(async () => (await prompts()).length === 2, LONG_MS)
  await reload(configOf(2, { masks: true, late: true }))
  const counts = await replayed({ ...STORE, trace: 'feedfacefeedfacefeedfacefeedface', replace: true })
  expect(counts).toMatchObject({ spans: 2, replaced: 2, added: 0 })
  expect(await prompts()).toEqual(['write to [REDACTED_EMAIL]', 'hello'])
  expect((await totals()).rows).toBe(SPANS + 2)
})

it('says what is wrong with what it is asked', { timeout: LONG_MS }, async () => {
  const wrong = (params: Asked): Promise<string | undefined> =>
    ask(params).then(
      async (run) => (await ended(run)).error,
      (error: Error) => error.message,
    )
  expect(await wrong({ pipeline: 'traces/none' })).toContain('there are: traces/store')
  expect(await wrong({ pipeline: 'traces/store' })).toContain('name one of clickhouse, s3')
  expect(await wrong({ ...STORE, source: '/etc' })).toContain('jobs.replay.directories')
  expect(await wrong({ ...STORE, source: 's3:none' })).toContain('there are: s3:s3')
  expect(await wrong({ pipeline: 'traces/store', exporter: 's3', replace: true })).toContain('cannot replace')
  expect(await wrong({ ...STORE, from: 'today' })).toContain('from')
  expect(await wrong({ ...STORE, replace: true, reprice: true })).toContain('reprice')
  const { code, err } = await weir('replay', 'pipeline')
  expect(code).toBe(2)
  expect(err).toContain('--pipeline')
})
