import { execFile } from 'node:child_process'
import { readdirSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { afterEach, expect, test } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { ask, JSON_TYPE, RawGrpcClient, tracesJson, tracesRequest } from '../contract/otlp-clients.ts'
import { storedCount } from '../golden/read-back.ts'
import { NatsServer } from '../nats.ts'
import { dist, startDaemon, type Daemon, type DaemonOptions } from '../support/daemon.ts'
import { IdentityClient } from '../support/identity.ts'
import { until } from '../support/until.ts'

/** Every example config: loaded by `weir print-config`, run, sent to, asked. */
const FOLDER = fileURLToPath(new URL('../../config/examples/', import.meta.url))
const run = promisify(execFile)
const MASTER_KEY = '11'.repeat(32)
const undo: (() => Promise<void> | void)[] = []

afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

async function started(options: DaemonOptions): Promise<Daemon> {
  const daemon = await startDaemon(options)
  undo.push(() => daemon.stop())
  await daemon.ready()
  return daemon
}

/** One span by gRPC and one by HTTP; both must be acknowledged. */
async function sendBoth(daemon: Daemon, headers: Record<string, string> = {}): Promise<void> {
  const client = new RawGrpcClient(daemon.endpoints.grpc)
  undo.push(() => client.close())
  expect((await client.export(tracesRequest('by gRPC'), { headers })).code).toBe(0)
  const port = Number(new URL(daemon.endpoints.http).port)
  const json = { headers: { ...JSON_TYPE, ...headers }, body: tracesJson('by HTTP') }
  expect((await ask(port, json)).status).toBe(200)
}

/** A verb of the CLI; its output. Rejects where it fails. */
async function weir(daemon: Daemon, ...args: string[]): Promise<string> {
  const argv = [join(dist, 'cmd/main.js'), ...args, '--endpoint', daemon.endpoints.api]
  return (await run(process.execPath, argv)).stdout
}

async function names(daemon: Daemon): Promise<unknown[]> {
  const rows = await daemon.query('SELECT SpanName FROM otel_traces ORDER BY SpanName')
  return rows.map(([name]) => name)
}

test('the examples are those that the tests here run', () => {
  expect(readdirSync(FOLDER).sort((a, b) => (a < b ? -1 : 1))).toEqual([
    'agents.yaml',
    'gateway.yaml',
    'quickstart.yaml',
    'sidecar.yaml',
  ])
})

test.each(['agents', 'gateway', 'quickstart', 'sidecar'])(
  '%s.yaml is valid, and its variables reach it',
  async (name) => {
    const own = {
      WEIR_OTLP_GRPC: '127.0.0.1:14317',
      WEIR_API: '127.0.0.1:14320',
      WEIR_MASTER_KEY: MASTER_KEY,
    }
    const env = { ...process.env, ...own }
    const args = ['--config', join(FOLDER, `${name}.yaml`)]
    const main = join(dist, 'cmd/main.js')
    await run(process.execPath, [main, 'validate', ...args], { env })
    const { stdout } = await run(process.execPath, [main, 'print-config', ...args], { env })
    expect(stdout).toContain('127.0.0.1:14317')
    expect(stdout).toContain('127.0.0.1:14320')
  },
)

test('quickstart: everything on one machine', async () => {
  const daemon = await started({ config: join(FOLDER, 'quickstart.yaml') })
  await sendBoth(daemon)
  expect(await storedCount(daemon, 2)).toBe(2)
  expect(await names(daemon)).toEqual(['by HTTP', 'by gRPC'])
  expect((await daemon.metrics()).sum('otelcol_receiver_accepted_spans')).toBe(2)
})

test('agents: redacted, large values beside their spans, jobs that say what they would do', async () => {
  const config = join(FOLDER, 'agents.yaml')
  const home = await mkdtemp(join(tmpdir(), 'weir-agents-'))
  undo.push(() => rm(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
  const daemon = await started({ config, env: { WEIR_MASTER_KEY: MASTER_KEY, WEIR_DATA: home } })
  await sendBoth(daemon)
  const text = { key: 'gen_ai.output.messages', value: { stringValue: 'word '.repeat(30_000) } }
  const plain = tracesJson('write to ada@example.com').toString()
  const body = Buffer.from(plain.replace('{"traceId"', `{"attributes":[${JSON.stringify(text)}],"traceId"`))
  const port = Number(new URL(daemon.endpoints.http).port)
  expect((await ask(port, { headers: JSON_TYPE, body })).status).toBe(200)
  expect(await storedCount(daemon, 3)).toBe(3)
  expect(await names(daemon)).toEqual(['by HTTP', 'by gRPC', 'write to [REDACTED_EMAIL]'])
  const sql =
    "SELECT SpanAttributes['gen_ai.output.messages.artifact.ref'] FROM otel_traces WHERE SpanName LIKE 'write%'"
  const [[ref]] = (await daemon.query(sql)) as [[string]]
  expect((await weir(daemon, 'artifact', 'get', ref)).trimEnd()).toHaveLength(149_999)
  const { jobs } = (await (await fetch(`${daemon.endpoints.api}/v1/jobs`)).json()) as {
    jobs: { job: string }[]
  }
  expect(jobs.map(({ job }) => job)).toEqual(['retention', 'redaction_sweep', 'consent_expiry', 'replay'])
  expect(await weir(daemon, 'job', 'run', 'retention', '--dry-run')).toContain('clickhouse rows overdue')
})

test('sidecar: OK while its ClickHouse server is away, stored when that is back', async () => {
  const clickhouse = await startClickHouse()
  undo.push(() => clickhouse.close())
  clickhouse.intercept = () => ({ drop: 'before' })
  const env = { WEIR_CLICKHOUSE: clickhouse.url, WEIR_CLICKHOUSE_DATABASE: 'sidecar' }
  const daemon = await started({ config: join(FOLDER, 'sidecar.yaml'), env })
  await sendBoth(daemon)
  await until(() => daemon.log().includes('An exporter did not start'))
  clickhouse.intercept = undefined
  expect(await storedCount(daemon, 2)).toBe(2)
  expect(await names(daemon)).toEqual(['by HTTP', 'by gRPC'])
})

test('gateway: what one daemon acknowledged, another with the same config stores', async () => {
  const nats = await NatsServer.start()
  undo.push(() => nats.stop())
  const clickhouse = await startClickHouse()
  undo.push(() => clickhouse.close())
  const env = {
    WEIR_NATS: nats.url,
    WEIR_WAL_BYTES: '64MiB',
    WEIR_CLICKHOUSE: clickhouse.url,
    WEIR_CLICKHOUSE_DATABASE: 'shared',
  }
  const config = join(FOLDER, 'gateway.yaml')
  clickhouse.intercept = () => ({ drop: 'before' })
  const first = await started({ config, env })
  const identity = new IdentityClient(first.endpoints.api)
  await identity.tenant('acme')
  const { secret } = await identity.key({ kind: 'api', tenant: 'acme', roles: ['ingest'] })
  await sendBoth(first, { 'x-api-key': secret })
  await first.kill()
  clickhouse.intercept = undefined
  const second = await started({ config, env })
  expect(await storedCount(second, 2)).toBe(2)
  expect(await names(second)).toEqual(['by HTTP', 'by gRPC'])
})
