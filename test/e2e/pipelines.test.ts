import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, existsSync, openSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { ask, readStatus, tracesRequest } from '../contract/otlp-clients.ts'
import { storedCount } from '../golden/read-back.ts'
import { dist, startDaemon, type Daemon } from '../support/daemon.ts'
import { testPorts } from '../support/ports.ts'
import { until } from '../support/until.ts'

/** Pipelines of other shapes than the examples': several exporters behind one WAL, and none before them. */
const undo: (() => Promise<unknown> | void)[] = []

afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

const EXTENSIONS = `extensions:
  state: { driver: embedded }
  health: {}
  api: {}
`
const RECEIVERS = `receivers:
  otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } }
`

/** One ingest pipeline into an embedded WAL, one store pipeline into the exporters. */
function stores(exporters: Readonly<Record<string, string>>): string {
  const blocks = Object.entries(exporters).map(([id, block]) => `  ${id}: ${block}\n`)
  return `${RECEIVERS}processors:
  cost: {}
connectors:
  wal: { driver: embedded }
exporters:
${blocks.join('')}${EXTENSIONS}service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost], exporters: [${Object.keys(exporters).join(', ')}] }
`
}

const EMBEDDED = '{ endpoint: embedded, batch: { max_wait: 20ms } }'
const STDOUT = '{ format: json }'

async function started(config: string): Promise<Daemon> {
  const daemon = await startDaemon({ config })
  undo.push(() => daemon.stop())
  await daemon.ready()
  return daemon
}

async function send(daemon: Daemon, ...names: string[]): Promise<void> {
  const port = Number(new URL(daemon.endpoints.http).port)
  for (const name of names) expect((await ask(port, { body: tracesRequest(name) })).status).toBe(200)
}

interface Printed {
  readonly resourceSpans: readonly {
    readonly scopeSpans: readonly { readonly spans: readonly { readonly name: string }[] }[]
  }[]
}

/** Span names that the stdout exporter has printed; logs are in the same file. */
function printed(daemon: Daemon): string[] {
  return daemon
    .log()
    .split('\n')
    .filter((line) => line.startsWith('{"resourceSpans"'))
    .map((line) => JSON.parse(line) as Printed)
    .flatMap(({ resourceSpans }) =>
      resourceSpans.flatMap(({ scopeSpans }) =>
        scopeSpans.flatMap(({ spans }) => spans.map(({ name }) => name)),
      ),
    )
}

async function stored(daemon: Daemon): Promise<unknown[]> {
  const rows = await daemon.query('SELECT SpanName FROM otel_traces ORDER BY WalSeq, WalRow')
  return rows.map(([name]) => name)
}

/** Takes connections and never answers. */
async function blackHole(): Promise<string> {
  const server = createServer((socket) => {
    undo.push(() => void socket.destroy())
    socket.on('error', () => undefined)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  undo.push(() => void server.close())
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

test('a dead and a silent exporter hold nobody up, and catch up from their own cursors', async () => {
  const server = await startClickHouse()
  undo.push(() => server.close())
  server.intercept = () => ({ drop: 'before' })
  const daemon = await started(
    stores({
      'clickhouse/dead': `{ endpoint: '${server.url}', database: back }`,
      'clickhouse/silent': `{ endpoint: '${await blackHole()}' }`,
      clickhouse: EMBEDDED,
      stdout: STDOUT,
    }),
  )
  const names = ['one', 'two', 'three']
  await send(daemon, ...names)
  expect(await storedCount(daemon, names.length)).toBe(names.length)
  await until(() => printed(daemon).length >= names.length)
  expect(await stored(daemon)).toEqual(names)
  expect(printed(daemon)).toEqual(names)
  const lag = (id: string) => async () =>
    (await daemon.metrics()).sum('weir_wal_lag_spans', `exporter="${id}"`) > 0
  await until(lag('clickhouse/dead'))
  await until(lag('clickhouse/silent'))
  server.intercept = undefined
  await until(async () => {
    const sql = 'SELECT SpanName FROM back.otel_traces ORDER BY WalSeq'
    const answer = await server.session.queryAsync(sql, { format: 'CSV' })
    return answer.text() === '"one"\n"two"\n"three"\n'
  })
  expect(printed(daemon)).toEqual(names)
})

test('an exporter that a reload adds starts at the latest; the others go on where they were', async () => {
  const daemon = await started(stores({ clickhouse: EMBEDDED }))
  await send(daemon, 'before')
  expect(await storedCount(daemon, 1)).toBe(1)
  writeFileSync(join(daemon.directory, 'weir.yaml'), stores({ clickhouse: EMBEDDED, stdout: STDOUT }))
  process.kill(daemon.pid, 'SIGHUP')
  await until(() => daemon.log().includes('The new configuration is running'))
  await send(daemon, 'after')
  await until(() => printed(daemon).length > 0)
  expect(await storedCount(daemon, 2)).toBe(2)
  expect(printed(daemon)).toEqual(['after'])
  expect(await stored(daemon)).toEqual(['before', 'after'])
})

/** otlp → cost → stdout. */
const DIRECT = `${RECEIVERS}processors:
  cost: {}
exporters:
  stdout: { format: json }
extensions:
  state: { driver: embedded }
  health: {}
service:
  extensions: [state, health]
  pipelines:
    traces: { receivers: [otlp], processors: [cost], exporters: [stdout] }
`

test('without a WAL, OK means that stdout has it', async () => {
  const daemon = await started(DIRECT)
  const sent: string[] = []
  for (let i = 0; i < 20; i++) {
    sent.push(`span ${i}`)
    await send(daemon, `span ${i}`)
    // No waiting here: the answer came after the write.
    expect(printed(daemon)).toEqual(sent)
  }
})

test.skipIf(!existsSync('/dev/full'))('without a WAL, a stdout on a full disk means come again', async () => {
  const daemon = await startDaemon({ config: DIRECT })
  undo.push(() => daemon.stop())
  await daemon.kill()
  const [http = 0, metrics = 0] = await testPorts(2)
  const full = openSync('/dev/full', 'w')
  const sets = [
    `receivers.otlp.protocols.http.endpoint=127.0.0.1:${http}`,
    `extensions.state.directory=${daemon.directory}/other`,
    'service.extensions=[state]',
    `service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${metrics}}}}}]`,
  ]
  const args = [
    'run',
    '--config',
    join(daemon.directory, 'weir.yaml'),
    ...sets.flatMap((set) => ['--set', set]),
  ]
  const child = spawn(process.execPath, [join(dist, 'cmd/main.js'), ...args], {
    stdio: ['ignore', full, 'ignore'],
  })
  closeSync(full)
  const ended = once(child, 'exit')
  undo.push(async () => {
    child.kill('SIGKILL')
    await ended
  })
  await until(async () => (await ask(http, { method: 'GET' })).status === 405)
  for (const name of ['one', 'two']) {
    const answer = await ask(http, { body: tracesRequest(name) })
    expect(answer.status).toBe(503)
    expect(readStatus(answer.body).message).not.toBe('')
  }
  expect(child.exitCode).toBeNull()
  expect(readFileSync(join(daemon.directory, 'weir.yaml'), 'utf8')).toBe(DIRECT)
})

test('what state keeps of runs is redacted, too, where a receiver stands in several pipelines', async () => {
  const daemon = await started(`receivers:
  toon: { endpoint: 127.0.0.1:0 }
processors:
  sanitizer: {}
connectors:
  wal: { driver: embedded }
exporters:
  stdout: ${STDOUT}
${EXTENSIONS}service:
  extensions: [state, health, api]
  pipelines:
    traces/plain: { receivers: [toon], exporters: [stdout] }
    traces/clean: { receivers: [toon], processors: [sanitizer], exporters: [wal] }
`)
  const begun = await fetch(`${daemon.endpoints.toon}/v1/runs`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ run_id: 'r', agent_id: 'ada@example.org' }),
  })
  expect(begun.status).toBe(201)
  const kept = await fetch(`${daemon.endpoints.toon}/v1/runs/r`)
  expect(await kept.json()).toMatchObject({ run_id: 'r', agent_id: '[REDACTED_EMAIL]' })
})
