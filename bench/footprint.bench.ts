import { mkdtempSync, readdirSync, rmSync, statSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { config as clickhouseConfig } from '../exporters/clickhouse/config.ts'
import { openEmbedded } from '../exporters/clickhouse/embedded.ts'
import { clickhouse } from '../exporters/clickhouse/factory.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import type { WalDriver } from '../pipeline/wal/driver.ts'
import { EmbeddedWal } from '../pipeline/wal/embedded.ts'
import { JetStreamWal } from '../pipeline/wal/jetstream.ts'
import { WalWriter } from '../pipeline/wal/writer.ts'
import { exporterContext } from '../test/contract/exporter.ts'
import { NatsServer } from '../test/nats.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

/**
 * Bytes per span where spans rest, on the standard load (512 spans per request): the WAL's files, what goes to nats-server, and ClickHouse
 * before and after its parts are merged. Those of the other destinations are in `exporters.bench.ts`. Run: `node dist/bench/footprint.bench.js
 * [spans]` after a build.
 */
const SPANS = Number(process.argv[2] ?? 131_072)
const PER_REQUEST = 512
const REQUESTS = Math.ceil(SPANS / PER_REQUEST)
const NEVER = new AbortController().signal

function say(name: string, bytes: number, spans = REQUESTS * PER_REQUEST): void {
  process.stdout.write(`${name.padEnd(44)}${(bytes / spans).toFixed(0).padStart(7)} B/span\n`)
}

/** Allocated, not apparent: LMDB's file has holes. */
function diskBytes(path: string): number {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.blocks * 512
  return readdirSync(path).reduce((sum, name) => sum + diskBytes(join(path, name)), 0)
}

async function fillLog(driver: WalDriver): Promise<void> {
  await driver.open()
  const writer = new WalWriter({
    connector: 'wal',
    driver,
    meter: createMeter(),
    onAppended: () => undefined,
    maxPendingBytes: 64 * 1024 * 1024,
  })
  for (let seed = 1; seed <= REQUESTS; seed++)
    await writer.consume(decoded(standardRequest(seed, PER_REQUEST)), NEVER)
  await writer.stop(NEVER)
  await driver.close()
}

async function logs(home: string): Promise<void> {
  const maxBytes = 8 * 1024 ** 3
  const directory = join(home, 'wal')
  await fillLog(new EmbeddedWal({ directory, maxBytes, durability: 'process', clock: Date.now }))
  say('embedded WAL, disk', diskBytes(join(directory, 'data.mdb')))
  const nats = await NatsServer.start().catch(() => undefined)
  if (nats === undefined) return
  try {
    const place = { stream: 'WEIR', subjectPrefix: 'weir', replicas: 1, durability: 'process' } as const
    const proof = { monitorUrl: undefined, storeDir: undefined }
    const log = pino({ level: 'silent' })
    const before = await received(nats)
    await fillLog(new JetStreamWal({ nats: { servers: [nats.url] }, ...place, ...proof, maxBytes, log }))
    say('jetstream WAL, network to nats-server', (await received(nats)) - before)
    say('jetstream WAL, disk', diskBytes(nats.storeDir))
  } finally {
    await nats.stop()
  }
}

async function received(nats: NatsServer): Promise<number> {
  const varz = (await (await fetch(`${nats.monitorUrl}/varz`)).json()) as { in_bytes: number }
  return varz.in_bytes
}

async function store(directory: string): Promise<void> {
  const maker = await clickhouse.load()
  const exporter = maker.create(clickhouseConfig.parse({ directory }), exporterContext('clickhouse'))
  await exporter.start?.()
  for (let seed = 1; seed <= REQUESTS; seed += 16) {
    const batches = Array.from({ length: 16 }, (_, at) => decoded(standardRequest(seed + at, PER_REQUEST)))
    const range = { from: seed, to: seed + 15, token: `t${seed}`, attempt: 0 }
    await exporter.deliver?.({ cursor: 'bench', range, batches, spans: 16 * PER_REQUEST }, NEVER)
  }
  const memory = { markCacheBytes: 1 << 26, maxMemoryBytes: 2 ** 31 }
  const connection = await openEmbedded({ directory, database: 'weir', ...memory })
  const look = async (name: string): Promise<void> => {
    const sql =
      "SELECT table, sum(bytes_on_disk), sum(rows) FROM system.parts WHERE active AND database = 'weir' GROUP BY table ORDER BY 2 DESC"
    const { data } = await connection.rows(sql, {}, NEVER)
    const spans = Number(data.find(([table]) => table === 'otel_traces')?.[2])
    for (const [table, bytes] of data) say(`clickhouse ${String(table)}, ${name}`, Number(bytes), spans)
  }
  await look('as inserted')
  for (const table of ['otel_traces', 'otel_traces_trace_id_ts'])
    await connection.command(`OPTIMIZE TABLE weir.${table} FINAL`)
  await look('merged')
  await connection.close()
  await exporter.stop?.(NEVER)
}

async function run(): Promise<void> {
  const home = mkdtempSync(join(tmpdir(), 'weir-footprint-'))
  try {
    await logs(home)
    await store(join(home, 'clickhouse'))
  } finally {
    rmSync(home, { recursive: true, force: true })
  }
}

await run()
