import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { testBatch } from '../contract/exporter.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender, traceId, type LedgerSender } from '../support/ledger-sender.ts'
import { startGrpc, type OtlpServer } from '../support/otlp-server.ts'
import { until } from '../support/until.ts'
import { randomOf, say, seedOf } from './world.ts'

/** Kills between an exporter and its cursor: a file has each span once, an OTLP server each span, and one that hangs holds up nobody. */
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 2)
const SEED = seedOf(process.env)

function configOf(natsUrl: string | undefined, folder: string, good: OtlpServer, stuck: OtlpServer): string {
  const place = natsUrl === undefined ? 'driver: embedded' : `driver: jetstream, servers: ['${natsUrl}']`
  const to = ({ address }: OtlpServer) =>
    `{ endpoint: '${address}', tls: { insecure: true }, timeout: 60s, batch: { max_spans: 500 } }`
  return `receivers:
  otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' } } }
connectors: { wal: { ${place} } }
exporters:
  file: { path: '${folder}/spans.jsonl', flush_interval: 20ms, rotation: { max_megabytes: 0.3, max_backups: 0 } }
  otlp/good: ${to(good)}
  otlp/stuck: ${to(stuck)}
extensions: { state: { ${place} }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [file, otlp/good, otlp/stuck] }
  telemetry: { logs: { level: warn } }
`
}

/** Copies of each span, by `<trace>/<span>`. */
type Copies = Map<string, number>

function inFiles(folder: string): Copies {
  const copies: Copies = new Map()
  for (const name of readdirSync(folder).filter((each) => each.endsWith('.jsonl'))) {
    const text = readFileSync(join(folder, name), 'utf8')
    for (const [, trace, span] of text.matchAll(/"traceId":"([0-9a-f]{32})","spanId":"([0-9a-f]{16})"/g)) {
      copies.set(`${trace}/${span}`, (copies.get(`${trace}/${span}`) ?? 0) + 1)
    }
  }
  return copies
}

function atServer({ seen }: OtlpServer): Copies {
  const copies: Copies = new Map()
  for (const { body } of seen) {
    const batch = decodeBatch(body, testBatch([]).meta)
    for (let row = 0; row < batch.rows; row++) {
      const [trace, span] = [batch.traceId(row), batch.spanId(row)].map((id) =>
        Buffer.from(id).toString('hex'),
      )
      copies.set(`${trace}/${span}`, (copies.get(`${trace}/${span}`) ?? 0) + 1)
    }
  }
  return copies
}

function missing(copies: Copies, { acked, spansPerRequest }: LedgerSender): number {
  let count = 0
  for (const request of acked) {
    for (let span = 1; span <= spansPerRequest; span++) {
      if (!copies.has(`${traceId(request)}/${span.toString(16).padStart(16, '0')}`)) count++
    }
  }
  return count
}

async function killOne(daemon: Daemon, random: () => number): Promise<void> {
  if (random() < 0.3) {
    await daemon.restart('SIGKILL')
    return
  }
  while (daemon.killStore() === undefined) await delay(10)
}

test.concurrent.for(['embedded', 'jetstream'])(
  'kill -9 of the daemon and its store process, %s',
  { timeout: 300_000 + ROUNDS * 60_000 },
  async (driver, { onTestFinished }) => {
    const random = randomOf(SEED)
    const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
    onTestFinished(() => nats?.stop())
    const good = await startGrpc(() => ({ ok: true }))
    const stuck = await startGrpc(() => 'hang')
    onTestFinished(() => Promise.all([good.close(), stuck.close()]).then(() => undefined))
    const place = mkdtempSync(join(tmpdir(), 'weir-exporters-'))
    onTestFinished(() => rmSync(place, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 }))
    const daemon = await startDaemon({ config: configOf(nats?.url, place, good, stuck) })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const sender = startSender({
      senders: 4,
      spansPerRequest: 10,
      paceMs: 5,
      endpoint: () => daemon.endpoints.grpc,
    })
    onTestFinished(() => sender.abort())
    for (let round = 0; round < ROUNDS; round++) {
      await delay(300 + random() * 1500)
      await killOne(daemon, random)
      await sender.progress(20, 60_000)
    }
    await daemon.ready()
    await sender.finish()
    await until(() => missing(inFiles(place), sender) === 0, 120_000)
    await until(() => missing(atServer(good), sender) === 0, 120_000)
    const spans = sender.acked.size * sender.spansPerRequest
    const doubled = (copies: Copies) => Array.from(copies.values()).reduce((sum, count) => sum + count - 1, 0)
    say(
      `exporters, ${driver}, seed ${SEED}: ${ROUNDS} kills, ${spans} spans, ${doubled(inFiles(place))} doubled in the file, ${doubled(atServer(good))} at the OTLP server`,
    )
    expect(doubled(inFiles(place))).toBe(0)
    expect(stuck.seen.length).toBeGreaterThan(0)
  },
)
