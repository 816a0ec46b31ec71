import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { randomOf, say, seedOf } from '../../test/faults/world.ts'
import { batchesIn, isData } from '../../test/s3/read-back.ts'
import { startDaemon } from '../../test/support/daemon.ts'
import { startSender, traceId } from '../../test/support/ledger-sender.ts'
import { S3Server, type S3Answer } from '../../test/support/s3-server.ts'
import { until } from '../../test/support/until.ts'
import type { Manifest } from './manifest.ts'

/** `WEIR_S3_KILLS=50 WEIR_FAULT_SEED=7`: longer, and the same again. */
const ROUNDS = Number(process.env['WEIR_S3_KILLS'] ?? 4)
const SEED = seedOf(process.env)
const STILL_MS = 30_000

function daemonConfig(server: S3Server): string {
  const { endpoint, s3_bucket: bucket, access_key_id: key, secret_access_key: secret } = server.place
  return `receivers:
  otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' } } }
connectors: { wal: { driver: embedded } }
exporters:
  s3:
    s3uploader:
      { endpoint: '${endpoint}', s3_bucket: ${bucket}, s3_force_path_style: true, access_key_id: ${key}, secret_access_key: ${secret} }
    marshaler: otlp_proto
    timeout: 5s
    batch: { max_wait: 100ms, max_spans: 500 }
extensions: { state: { driver: embedded }, health: {} }
service:
  extensions: [state, health]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [s3] }
  telemetry: { logs: { level: warn } }
`
}

/** Slow, so that kills fall between an object and its manifest; some answers lost, some requests refused. */
function weather(random: () => number): () => Promise<S3Answer> {
  return async () => {
    await delay(random() * 40)
    const turn = random()
    if (turn < 0.05) return 'lose'
    return turn < 0.1 ? { status: 503, code: 'SlowDown' } : 'take'
  }
}

const manifestsIn = (objects: ReadonlyMap<string, Buffer>): Manifest[] =>
  [...objects].filter(([key]) => !isData(key)).map(([, bytes]) => JSON.parse(bytes.toString()) as Manifest)

/** (trace, span) of every stored copy. */
function copiesIn(objects: ReadonlyMap<string, Buffer>): Map<string, number> {
  const copies = new Map<string, number>()
  for (const [key, bytes] of objects) {
    if (!isData(key)) continue
    for (const batch of batchesIn(key, bytes)) {
      for (let row = 0; row < batch.rows; row++) {
        const id = Buffer.concat([batch.traceId(row), batch.spanId(row)]).toString('hex')
        copies.set(id, (copies.get(id) ?? 0) + 1)
      }
    }
  }
  return copies
}

test(
  `each acknowledged span once through ${ROUNDS} times kill -9`,
  { timeout: 120_000 + ROUNDS * 15_000 },
  async ({ onTestFinished }) => {
    const random = randomOf(SEED)
    const server = await S3Server.start(weather(random))
    onTestFinished(() => server.close())
    const daemon = await startDaemon({ config: daemonConfig(server) })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const sender = startSender({
      senders: 4,
      spansPerRequest: 10,
      paceMs: 10,
      endpoint: () => daemon.endpoints.grpc,
    })
    onTestFinished(() => sender.abort())
    let unlisted = 0
    for (let round = 0; round < ROUNDS; round++) {
      // Data on its way: then the kill.
      const seen = server.requests.length
      await until(() => server.requests.length > seen + 2)
      await delay(random() * 60)
      if (round % 2 === 0) await daemon.restart('SIGKILL')
      else await until(() => daemon.killStore() !== undefined)
      unlisted += begun(await server.keys())
      await sender.progress(20, 60_000)
    }
    await daemon.ready()
    await sender.finish()
    const acked = sender.acked.size * sender.spansPerRequest
    const objects = await drained(server, acked)
    await daemon.kill('SIGTERM')
    say(
      `kill -9 into s3, seed ${SEED}: ${ROUNDS} kills, ${acked} spans acknowledged, ` +
        `${objects.size} objects, ${unlisted} ranges seen without a manifest after a kill`,
    )
    expect(unlistedIn(objects)).toEqual([])
    const copies = copiesIn(objects)
    const wanted = [...sender.acked].flatMap((request) =>
      Array.from(
        { length: 10 },
        (_, i) => traceId(request) + `00000000${(i + 1).toString(16).padStart(8, '0')}`,
      ),
    )
    expect([...copies.values()].filter((count) => count !== 1)).toEqual([])
    expect(wanted.filter((id) => !copies.has(id))).toEqual([])
    expect(copies.size).toBe(acked)
    expect(server.damaged).toEqual([])
  },
)

/** What the store holds once it holds as much as was acknowledged, or stands still. */
async function drained(server: S3Server, spans: number): Promise<Map<string, Buffer>> {
  let rows = -1
  for (let grewMs = performance.now(); performance.now() - grewMs < STILL_MS; await delay(200)) {
    const now = manifestsIn(await server.objects('_manifests')).reduce(
      (sum, manifest) => sum + manifest.rows,
      0,
    )
    if (now >= spans) break
    if (now > rows) grewMs = performance.now()
    rows = Math.max(rows, now)
  }
  return server.objects()
}

/** Ranges of which there are objects and no manifest. */
function begun(keys: readonly string[]): number {
  const range = (key: string): string => /\d{16}-\d{16}_\w+/.exec(key)?.[0] ?? ''
  const finished = new Set(keys.filter((key) => !isData(key)).map(range))
  return new Set(keys.filter((key) => isData(key) && !finished.has(range(key))).map(range)).size
}

/** Objects that no manifest lists as they are. */
function unlistedIn(objects: ReadonlyMap<string, Buffer>): string[] {
  const listed = new Map(
    manifestsIn(objects).flatMap((manifest) => manifest.objects.map(({ key, sha256 }) => [key, sha256])),
  )
  const sums = [...objects].map(
    ([key, bytes]) => [key, createHash('sha256').update(bytes).digest('hex')] as const,
  )
  return sums.filter(([key, sum]) => isData(key) && listed.get(key) !== sum).map(([key]) => key)
}
