import { setTimeout as delay } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { NatsServer } from '../nats.ts'
import { ask, encodeDocument, readStatus, tracesRequest } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { awayFromMidnight } from '../support/midnight.ts'
import { testPorts } from '../support/ports.ts'

/** Limits in real daemons: quotas that several share, dollars that the store process counts, nothing lost of what was taken. */

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const port = (daemon: Daemon): number => Number(new URL(daemon.endpoints.http).port)
const send = async (daemon: Daemon, body: Uint8Array) => ask(port(daemon), { body })
let sent = 0
/** `count` spans that no other request has. */
const fresh = (count: number) => {
  const first = sent
  sent += count
  return tracesRequest(...Array.from({ length: count }, (_, i) => `span-${first + i}`))
}

async function running(config: string): Promise<Daemon> {
  const daemon = await startDaemon({ config })
  cleanups.push(() => daemon.stop())
  await daemon.ready()
  return daemon
}

const shared = (url: string, limits: string): string => `
receivers:
  otlp: { protocols: { http: {} } }
processors:
  limits: ${limits}
connectors:
  wal: { driver: jetstream, servers: ["${url}"], max_bytes: 64MiB }
exporters:
  stdout: { verbosity: basic }
extensions:
  state: { driver: jetstream, servers: ["${url}"] }
  health: {}
service:
  extensions: [state, health]
  pipelines:
    traces/ingest: { receivers: [otlp], processors: [limits], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [stdout] }
`

const alone = (limits: string): string => `
receivers:
  otlp: { protocols: { http: {} } }
processors:
  limits: ${limits}
  cost: {}
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded }
extensions:
  state: {}
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], processors: [limits], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost], exporters: [clickhouse] }
`

describe('a daily quota', () => {
  it('is shared by two daemons, and holds over a kill', async () => {
    const nats = await NatsServer.start()
    cleanups.push(() => nats.stop())
    const config = shared(nats.url, '{ default: { spans_per_day: 1000 } }')
    const [one, two] = await Promise.all([running(config), running(config)])
    await awayFromMidnight()
    for (let i = 0; i < 99; i++) expect((await send(one, fresh(10))).status).toBe(200)
    // The other learns of it within about two seconds: ten spans are left, and what it takes meanwhile.
    let taken = 0
    for (;;) {
      const { status, headers } = await send(two, fresh(1))
      if (status === 429) {
        expect(Number(headers['retry-after'])).toBeGreaterThan(0)
        break
      }
      expect(status).toBe(200)
      taken++
      expect(taken).toBeLessThan(100)
      await delay(50)
    }
    expect(taken).toBeGreaterThanOrEqual(10)
    // What the first has not heard of yet is within the bound, too.
    await expect.poll(async () => (await send(one, fresh(1))).status).toBe(429)
    await one.restart('SIGKILL')
    await one.ready()
    await expect.poll(async () => (await send(one, fresh(1))).status).toBe(429)
  })

  it('in dollars ends intake once the calls are priced; what was taken before is stored', async () => {
    const daemon = await running(alone('{ default: { usd_per_day: 0.05 } }'))
    await awayFromMidnight()
    // gpt-4o: 2.50 USD per million input tokens, so 0.01 USD a call.
    let accepted = 0
    for (;;) {
      const { status } = await send(daemon, call(accepted))
      if (status === 429) break
      expect(status).toBe(200)
      accepted++
      expect(accepted).toBeLessThan(500)
      await delay(100)
    }
    expect(accepted).toBeGreaterThanOrEqual(5)
    const stored = () => daemon.query('SELECT count(), sum(CostUsd) >= 0.05 FROM otel_traces')
    await expect.poll(async () => (await stored())[0]?.map(Number)).toEqual([accepted, 1])
    expect((await daemon.metrics()).sum('weir_rate_limited', 'limit="usd_per_day"')).toBe(1)
  })
})

it('under a flood takes what the rate allows, loses nothing of it, and takes again when the flood is over', async () => {
  const daemon = await running(alone('{ default: { events_per_minute: 600 } }'))
  const answers = new Map<number, number>()
  const flood = async (until: number): Promise<void> => {
    while (performance.now() < until || !answers.has(429)) {
      const { status, headers } = await send(daemon, fresh(20))
      answers.set(status, (answers.get(status) ?? 0) + 1)
      if (status !== 200) expect(headers['retry-after']).toBeDefined()
    }
  }
  const end = performance.now() + 3000
  await Promise.all(Array.from({ length: 8 }, () => flood(end)))
  expect(new Set(answers.keys())).toEqual(new Set([200, 429]))
  const accepted = (answers.get(200) ?? 0) * 20
  // A minute's worth, what came in since, and one request of each sender on credit.
  expect(accepted).toBeGreaterThanOrEqual(600)
  expect(accepted).toBeLessThanOrEqual(600 + 10 * 10 + 8 * 20)
  const { headers } = await send(daemon, fresh(1))
  await delay(Number(headers['retry-after']) * 1000)
  expect((await send(daemon, fresh(1))).status).toBe(200)
  await expect
    .poll(async () => (await daemon.query('SELECT count() FROM otel_traces'))[0]?.map(Number))
    .toEqual([accepted + 1])
})

it('stores that are behind stop intake before the log is full; it goes on when they have caught up', async () => {
  const [port = 0] = await testPorts(1)
  const config = alone('{ wal: { max_undelivered_percent: 40 } }')
    .replace('wal: { driver: embedded }', 'wal: { driver: embedded, max_bytes: 8MiB }')
    .replace('{ endpoint: embedded }', `{ endpoint: "http://127.0.0.1:${port}" }`)
    .replace('processors: [cost], ', '')
  const daemon = await running(config)
  const refused = await until429or503(daemon)
  expect(refused.status).toBe(503)
  expect(refused.message).toContain('bytes behind, over 40 %')
  expect(Number(refused.retryAfter)).toBeGreaterThan(0)
  const clickhouse = await startClickHouse(port)
  cleanups.push(() => clickhouse.close())
  await expect.poll(async () => (await send(daemon, fresh(1))).status, { interval: 500 }).toBe(200)
  const wanted = refused.accepted + 1
  const stored = async (): Promise<number[] | undefined> =>
    (await daemon.query('SELECT uniqExact(SpanName), count() FROM otel_traces'))[0]?.map(Number)
  await expect.poll(stored, { interval: 500 }).toEqual([wanted, wanted])
})

/** Sends until refused: spans that were taken, and what the sender was told. */
async function until429or503(daemon: Daemon) {
  for (let accepted = 0; ; accepted += 500) {
    const { status, headers, body } = await send(daemon, fresh(500))
    if (status !== 200)
      return { accepted, status, retryAfter: headers['retry-after'], message: readStatus(body).message }
    expect(accepted).toBeLessThan(1_000_000)
    await delay(20)
  }
}

/** One model call, the `n`th. */
function call(n: number): Uint8Array {
  const attribute = (key: string, value: object) => ({ key, value })
  const attributes = [
    attribute('gen_ai.operation.name', { stringValue: 'chat' }),
    attribute('gen_ai.provider.name', { stringValue: 'openai' }),
    attribute('gen_ai.response.model', { stringValue: 'gpt-4o' }),
    attribute('gen_ai.usage.input_tokens', { intValue: '4000' }),
    attribute('gen_ai.usage.output_tokens', { intValue: '0' }),
  ]
  const now = BigInt(Date.now()) * 1_000_000n
  const span = {
    traceId: (n + 1).toString(16).padStart(32, '0'),
    spanId: (n + 1).toString(16).padStart(16, '0'),
    name: 'chat',
    startTimeUnixNano: String(now),
    endTimeUnixNano: String(now + 1n),
    attributes,
  }
  return encodeDocument({ resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] })
}
