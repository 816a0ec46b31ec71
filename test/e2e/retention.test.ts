import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { dist, startDaemon, type Daemon } from '../support/daemon.ts'

/** The job `retention` in a daemon, asked for by the verb, and still there after its store process was killed. */

const DAY_MS = 86_400_000
let daemon: Daemon | undefined
afterEach(() => daemon?.stop())

const config = `
receivers:
  otlp: { protocols: { http: {} } }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded, batch: { max_wait: 50ms } }
extensions: { state: {}, health: {}, api: {} }
jobs:
  retention: {}
service:
  extensions: [state, health, api]
  jobs: [retention]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [clickhouse] }
`

async function weir(api: string, ...args: string[]) {
  const child = spawn(process.execPath, [join(dist, 'cmd/main.js'), ...args, '--endpoint', api])
  let out = ''
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()))
  child.stderr.on('data', (chunk: Buffer) => (out += chunk.toString()))
  const [code] = (await once(child, 'close')) as [number]
  return { code, out }
}

/** Two spans, of so many days ago. */
function requestOf(...days: number[]): string {
  const spans = days.map((day, at) => {
    const start = String(BigInt(Date.now() - day * DAY_MS) * 1_000_000n)
    const ids = { traceId: `${at + 1}`.padStart(32, '0'), spanId: `${at + 1}`.padStart(16, '0') }
    return { ...ids, name: `${day}`, kind: 1, startTimeUnixNano: start, endTimeUnixNano: start }
  })
  return JSON.stringify({ resourceSpans: [{ scopeSpans: [{ spans }] }] })
}

it('deletes what is over its time when asked, and the audit log knows', async () => {
  daemon = await startDaemon({ config })
  const running = daemon
  await running.ready()
  const { api, http } = running.endpoints
  const headers = { 'content-type': 'application/json' }
  const sent = await fetch(`${http}/v1/traces`, { method: 'POST', headers, body: requestOf(40, 29, 1) })
  expect(sent.status).toBe(200)
  const names = async (): Promise<unknown> =>
    (await running.query('SELECT arraySort(groupArray(SpanName)) FROM otel_traces'))[0]?.[0]
  await expect.poll(names).toEqual(['1', '29', '40'])
  const dry = await weir(api, 'job', 'run', 'retention', '--dry-run')
  expect(dry.out).toContain('clickhouse: 1 rows of default')
  expect(dry.out).toContain('nothing was changed')
  expect(await names()).toEqual(['1', '29', '40'])
  // Asked for while the store process is dead: the next one runs it.
  running.killStore()
  const run = await weir(api, 'job', 'run', 'retention', '--json')
  expect(JSON.parse(run.out)).toMatchObject({
    status: 'success',
    report: { counts: { 'clickhouse rows deleted': 1 } },
  })
  expect(run.code).toBe(0)
  expect(await names()).toEqual(['1', '29'])
  const audit = await weir(api, 'audit', 'query', '--json')
  expect(audit.out).toContain('"retention.delete"')
  expect((await weir(api, 'job', 'ls')).out).toContain('0 2 * * *')
  expect((await weir(api, 'job', 'run', 'retention', '--arg', 'store=nowhere')).code).toBe(1)
  // A busy store process does not tell its figures in time: then the page is without them.
  const page = async (): Promise<string> => (await fetch(running.endpoints.metrics)).text()
  await expect.poll(page).toContain('weir_job_last_success{job="retention"')
  await expect.poll(page).toMatch(/weir_retention_overdue\{store="clickhouse"[^}]*\} 0/)
})
