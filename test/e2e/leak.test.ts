import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ask, encodeDocument, JSON_TYPE, RawGrpcClient } from '../contract/otlp-clients.ts'
import { canaryDocument } from '../support/canaries.ts'
import { dist, type Daemon, startDaemon } from '../support/daemon.ts'
import { S3Server } from '../support/s3-server.ts'
import { until } from '../support/until.ts'

/** A secret in every place that can hold a value, by every way in: in none of the places where weir keeps or tells anything. */
const SPAN_ID = 'eee19b7ec3c1b174'

let daemon: Daemon
let inbox: string
let s3: S3Server

beforeAll(async () => {
  // What is tailed has the secrets in it, and is not weir's.
  inbox = await mkdtemp(join(tmpdir(), 'weir-leak-'))
  s3 = await S3Server.start()
  const { endpoint, s3_bucket: bucket, access_key_id: key, secret_access_key: secret } = s3.place
  daemon = await startDaemon({
    config: `
receivers:
  otlp: { protocols: { grpc: { endpoint: 127.0.0.1:0 }, http: { endpoint: 127.0.0.1:0 } } }
  toon: { endpoint: 127.0.0.1:0 }
  jsonl: { include: ["${inbox}/*.jsonl"], start_at: beginning, poll_interval: 50ms }
processors:
  sanitizer: { log_interval: 100ms }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded }
  s3:
    s3uploader: { endpoint: '${endpoint}', s3_bucket: ${bucket}, s3_force_path_style: true, access_key_id: ${key}, secret_access_key: ${secret}, compression: none }
    batch: { max_wait: 100ms }
extensions:
  state: { driver: embedded }
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp, toon, jsonl], processors: [sanitizer], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [clickhouse, s3] }
  telemetry: { logs: { level: debug, encoding: json } }
`,
  })
  await daemon.ready()
})

afterAll(async () => {
  await daemon?.stop()
  await s3?.close()
  await rm(inbox, { recursive: true, force: true })
})

/** Every run of characters around a canary, in any file under the directory, the log included. */
function leaksIn(directory: string): string[] {
  return readdirSync(directory, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .flatMap((entry) => {
      const path = join(entry.parentPath, entry.name)
      return leaks(readFileSync(path, 'latin1')).map((found) => `${path}: ${found}`)
    })
}

function leaks(text: string): string[] {
  return text.match(/.{0,40}canary.{0,40}/gi) ?? []
}

async function sendToon(): Promise<void> {
  const call = async (path: string, body: object): Promise<void> => {
    const answer = await fetch(`${daemon.endpoints.toon}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', 'idempotency-key': path },
      body: JSON.stringify(body),
    })
    expect([answer.status, answer.status < 300 ? '' : await answer.text()]).toEqual([answer.status, ''])
  }
  await call('/v1/runs', { run_id: 'leak', agent_id: 'tester' })
  const event = (type: string, payload: object): object => ({
    t: new Date().toISOString(),
    actor: type === 'action_response' ? 'tool' : 'agent',
    type,
    payload,
  })
  await call('/v1/runs/leak/events', [
    event('reasoning', {
      thought: 'ask canary.t1@leak-test.example.org',
      steps: ['mail canary.t2@leak-test.example.org'],
    }),
    event('action_request', {
      action: 'login',
      params: { password: 'Canary3x9Q', deep: { api_key: 'Canary4x9Q' } },
    }),
    event('action_response', {
      status: 'error',
      error: 'no user canary.t5@leak-test.example.org',
      latency_ms: 5,
    }),
    event('error', { error_type: 'E', message: 'm', stack_trace: 'at canary.t6@leak-test.example.org' }),
    event('final_output', { output: '{"mail": "canary.t7@leak-test.example.org"}' }),
  ])
  await call('/v1/runs/leak/finish', { status: 'failed', error: 'canary.t8@leak-test.example.org gave up' })
  // A run that stays open: all that is known of it is in the state store.
  await call('/v1/runs', {
    run_id: 'open',
    agent_id: 'canary.t9@leak-test.example.org',
    agent_name: 'for canary.t10@leak-test.example.org',
    session_id: 'canary.t11@leak-test.example.org',
    metadata: { owner: 'canary.t12@leak-test.example.org', password: 'Canary13x9Q' },
  })
  await call('/v1/runs/open/events', [
    event('action_request', { action: 'mail canary.t14@leak-test.example.org', params: {} }),
  ])
}

test('no secret is in the WAL, ClickHouse, S3, state, logs or metrics, whatever way it came', async () => {
  const grpc = new RawGrpcClient(daemon.endpoints.grpc)
  const document = (prefix: string): object =>
    canaryDocument(`${prefix}8efff798038103d269b633813fc60c`, SPAN_ID)
  expect((await grpc.export(encodeDocument(document('a1')))).code).toBe(0)
  grpc.close()
  const body = Buffer.from(JSON.stringify(document('b2')))
  const { port } = new URL(daemon.endpoints.http)
  expect((await ask(Number(port), { headers: JSON_TYPE, body })).status).toBe(200)
  await sendToon()
  const opening = {
    t: new Date().toISOString(),
    actor: 'agent',
    type: 'action_request',
    payload: { action: 'call canary.t15@leak-test.example.org', params: {} },
    meta: { run_id: 'of a file', agent_id: 'canary.t16@leak-test.example.org' },
  }
  const lines = [document('c3'), opening].map((line) => `${JSON.stringify(line)}\n`)
  await writeFile(join(inbox, 'spans.jsonl'), lines.join(''))
  const stored =
    "SELECT toString(SpanAttributes['weir.redactions']) FROM otel_traces WHERE SpanAttributes['weir.redactions'] != ''"
  // The three documents, and what has something to hide of the events.
  await until(async () => {
    const counts = (await daemon.query(stored)).map(([count]) => Number(count))
    return counts.filter((count) => count > 60).length === 3 && counts.length >= 10
  })

  const rows = await daemon.query('SELECT toString(tuple(*)) FROM otel_traces')
  expect(leaks(JSON.stringify(rows))).toEqual([])
  expect(JSON.stringify(rows)).toContain('[REDACTED_EMAIL]')
  // The redaction log says what, where and how often.
  const log = await daemon.query(
    "SELECT Type, Path, Count FROM redactions WHERE RunId = 'open' ORDER BY Path, Type",
  )
  expect(log).toContainEqual(['email', 'name', 1])
  const metrics = await (await fetch(daemon.endpoints.metrics)).text()
  expect(leaks(metrics)).toEqual([])
  expect(metrics).toMatch(/weir_redactions\{[^}]*type="email"[^}]*\} \d+/)
  await until(async () => daemon.log().includes('"redacted"'))
  const archived = async (): Promise<string> =>
    [...(await s3.objects()).values()].map((bytes) => bytes.toString('latin1')).join('\n')
  const marked = (await daemon.query(stored)).length
  await until(async () => (await archived()).split('"weir.redactions"').length > marked)
  expect(leaks(await archived())).toEqual([])
  // Stopped: ClickHouse moves no file while it is read, and what stopping writes is seen too.
  await daemon.kill('SIGTERM')
  expect(leaksIn(daemon.directory)).toEqual([])
  // The look itself works: what was masked is there, uncompressed, in the WAL.
  const wal = readdirSync(join(daemon.directory, 'wal'), { withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => readFileSync(join(entry.parentPath, entry.name), 'latin1'))
  expect(wal.join('')).toContain('[REDACTED_EMAIL]')
})

test('whoever has the salt can find somebody again, after a restart too', async () => {
  await daemon.restart('SIGTERM')
  await daemon.ready()
  const weir = join(dist, 'cmd/main.js')
  const { stdout } = await promisify(execFile)(process.execPath, [
    weir,
    'pseudonym',
    'Ada@example.org',
    '--type',
    'email',
    '--json',
    '--endpoint',
    daemon.endpoints.api,
  ])
  const answer = JSON.parse(stdout) as { pseudonyms: { pseudonym: string }[] }
  expect(answer.pseudonyms.map(({ pseudonym }) => pseudonym)).toEqual([
    expect.stringMatching(/^<EMAIL:[0-9a-f]{16}>$/),
  ])
})
