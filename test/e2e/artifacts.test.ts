import { createHash, randomBytes } from 'node:crypto'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, test } from 'vitest'
import { runCli } from '../../cmd/cli.ts'
import { ask, encodeDocument, PROTOBUF } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { S3Server } from '../support/s3-server.ts'
import { until } from '../support/until.ts'

/** Prompts of a megabyte, into a daemon by OTLP and out again by reference: through failures, each once and byte for byte. */
const undo: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

/** `WEIR_ARTIFACT_KILLS=5`: longer. */
const KILLS = Number(process.env['WEIR_ARTIFACT_KILLS'] ?? 1)
/** Of a store process that was killed, on a busy machine. */
const RECOVERY_MS = 90_000

const configOf = (artifacts: string): string => `receivers:
  otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } }
processors:
  cost: {}
  artifacts: ${artifacts}
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded, batch: { max_wait: 50ms } }
  stdout: { verbosity: basic }
extensions:
  state: { driver: embedded, master_key: ${randomBytes(32).toString('hex')} }
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost, artifacts], exporters: [clickhouse, stdout] }
`

async function started(config: string): Promise<Daemon> {
  const daemon = await startDaemon({ config })
  undo.push(() => daemon.stop())
  await daemon.ready()
  return daemon
}

/** A prompt that is like no other; its beginning tells which. */
const promptOf = (index: number): string => `prompt ${index} `.padEnd(1_048_576, `${index}.äö😀`)

async function send(daemon: Daemon, index: number): Promise<void> {
  const span = {
    traceId: 'a'.repeat(32),
    spanId: String(index + 1).padStart(16, '0'),
    name: `chat ${index}`,
    startTimeUnixNano: String(BigInt(Date.now()) * 1_000_000n),
    attributes: [{ key: 'gen_ai.prompt', value: { stringValue: promptOf(index) } }],
  }
  const body = encodeDocument({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })
  const port = Number(new URL(daemon.endpoints.http).port)
  expect((await ask(port, { body, headers: PROTOBUF })).status).toBe(200)
}

async function weir(daemon: Daemon, ...argv: string[]): Promise<{ code: number; out: string }> {
  let out = ''
  const io = { out: (text: string) => void (out += text), err: (text: string) => void (out += text) }
  const code = await runCli(argv, { ...io, tty: false, env: { WEIR_ENDPOINT: daemon.endpoints.api } })
  return { code, out }
}

const ROWS = `SELECT SpanName, SpanAttributes['gen_ai.prompt'], SpanAttributes['gen_ai.prompt.artifact.ref'],
  SpanAttributes['gen_ai.prompt.artifact.size'] FROM otel_traces ORDER BY SpanId`

async function rows(daemon: Daemon): Promise<readonly (readonly unknown[])[]> {
  return daemon.query(ROWS)
}

/** The rows are those of the prompts, each once, and what they refer to is the prompt. */
async function expectAll(daemon: Daemon, count: number): Promise<void> {
  const found = await rows(daemon)
  expect(found.map(([name]) => name)).toEqual(Array.from({ length: count }, (_, index) => `chat ${index}`))
  for (const [index, [, preview, ref, size]] of found.entries()) {
    const prompt = promptOf(index)
    expect(prompt.startsWith(String(preview))).toBe(true)
    expect(Buffer.byteLength(String(preview))).toBeLessThanOrEqual(1024)
    expect(size).toBe(String(Buffer.byteLength(prompt)))
    const sha256 = createHash('sha256').update(prompt).digest('hex')
    expect(ref).toBe(`artifact://default/${sha256}`)
    const file = join(daemon.directory, `${index}.txt`)
    expect((await weir(daemon, 'artifact', 'get', String(ref), '-o', file)).code).toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(prompt)
  }
}

test(
  'a bucket that is down, then loses answers while the store process is killed: nothing is lost or doubled',
  { timeout: 180_000 },
  async () => {
    const server = await S3Server.start(() => ({ status: 503, code: 'SlowDown' }))
    undo.push(() => server.close())
    const { endpoint, s3_bucket: bucket, access_key_id: key, secret_access_key: secret } = server.place
    const daemon = await started(
      configOf(
        `{ s3uploader: { endpoint: '${endpoint}', s3_bucket: ${bucket}, s3_force_path_style: true, retry_mode: nop, access_key_id: ${key}, secret_access_key: ${secret} } }`,
      ),
    )
    const count = 4
    for (let index = 0; index < count; index++) await send(daemon, index)
    await until(() => server.requests.some(({ method }) => method === 'PUT'))
    expect(await rows(daemon)).toEqual([])
    await until(() => daemon.log().includes('SlowDown'))

    let kills = 0
    server.rule = ({ method }) => {
      // It is stored, and nobody who asked for it is told.
      if (method !== 'PUT' || kills >= KILLS) return 'take'
      kills++
      daemon.killStore()
      return 'lose'
    }
    await until(async () => (await rows(daemon)).length >= count, RECOVERY_MS)
    expect(kills).toBe(KILLS)
    await expectAll(daemon, count)
    const stored = await server.keys()
    expect(stored).toHaveLength(count)
    expect(stored.every((path) => path.startsWith('artifacts/tenant=default/'))).toBe(true)
    // A busy store process does not tell its figures in time: then the page is without them.
    await expect.poll(async () => (await daemon.metrics()).sum('weir_artifact_puts')).toBeGreaterThan(0)
    expect((await daemon.metrics()).sum('weir_accounting_imbalance_spans')).toBe(0)
    const { out } = await weir(daemon, 'trace', 'a'.repeat(32))
    expect(out).toMatch(/⇲ gen_ai\.prompt  1\.\d MiB  text\/plain  artifact:\/\/default\/[0-9a-f]{64}/)
  },
)

test(
  'a directory, sealed: what was stored before kill -9 of everything is read after it; what was not, is stored then',
  { timeout: 180_000 },
  async () => {
    const place = mkdtempSync(join(tmpdir(), 'weir-e2e-artifacts-'))
    undo.push(() => rmSync(place, { recursive: true }))
    const daemon = await started(configOf(`{ directory: '${place}' }`))
    await send(daemon, 0)
    await until(async () => (await rows(daemon)).length === 1)
    const { out: link } = await weir(daemon, 'artifact', 'url', String((await rows(daemon))[0]?.[2]))
    for (let index = 1; index < 4; index++) await send(daemon, index)
    await daemon.restart('SIGKILL')
    await daemon.ready()
    await until(async () => (await rows(daemon)).length === 4, RECOVERY_MS)
    await expectAll(daemon, 4)
    const answer = await fetch(link)
    expect([answer.status, await answer.text()]).toEqual([200, promptOf(0)])
    const files = readdirSync(place, { recursive: true, withFileTypes: true }).filter(
      // Not what the kill has cut short.
      (file) => file.isFile() && !file.name.endsWith('.part'),
    )
    expect(files).toHaveLength(4)
    for (const { parentPath, name } of files) {
      expect(readFileSync(join(parentPath, name)).includes('prompt')).toBe(false)
    }
  },
)
