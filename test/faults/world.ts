import { setTimeout as delay } from 'node:timers/promises'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender, type LedgerPlan, type LedgerSender } from '../support/ledger-sender.ts'
import type { S3Server } from '../support/s3-server.ts'

export const STORE = 'traces/store'

/** Where a daemon's parts are; what is left out is embedded, or not there. */
export interface Places {
  readonly nats?: string | undefined
  readonly clickhouse?: string
  readonly s3?: Pick<S3Server, 'place'>
  readonly logLevel?: string
  /** Of the WAL, the state and embedded ClickHouse; `process` when left out. */
  readonly durability?: 'strict'
  /** Of stream and bucket. */
  readonly replicas?: number
  /** One attempt of an exporter. */
  readonly timeout?: string
  /** What every exporter has passed stays so long in the WAL. */
  readonly keep?: string
  /** How long the first span of an S3 object waits for others. */
  readonly gather?: string
}

/** A daemon with OTLP gRPC, the WAL and the state in one driver, and a store pipeline to ClickHouse and, if there is one, S3. */
export function daemonConfig(places: Places = {}): string {
  const { nats, clickhouse = 'embedded', s3, logLevel = 'warn', durability = 'process' } = places
  const { replicas = 1, keep = '168h' } = places
  const place =
    nats === undefined ? 'driver: embedded' : `driver: jetstream, servers: [${nats}], replicas: ${replicas}`
  const wait = places.timeout === undefined ? '' : `, timeout: ${places.timeout}`
  return `receivers:
  otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' } } }
processors: { cost: {} }
connectors: { wal: { ${place}, durability: ${durability}, keep: ${keep} } }
exporters:
  clickhouse: { endpoint: '${clickhouse}'${clickhouse === 'embedded' ? `, durability: ${durability}` : wait} }
${s3 === undefined ? '' : s3Config(s3, places.gather ?? '200ms', wait)}
extensions: { state: { ${place} }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    ${STORE}: { receivers: [wal], processors: [cost], exporters: [clickhouse${s3 === undefined ? '' : ', s3'}] }
  telemetry: { logs: { level: ${logLevel} } }
`
}

function s3Config(server: Pick<S3Server, 'place'>, gather: string, wait: string): string {
  const { endpoint, s3_bucket: bucket, access_key_id: key, secret_access_key: secret } = server.place
  return `  s3:
    s3uploader:
      { endpoint: '${endpoint}', s3_bucket: ${bucket}, s3_force_path_style: true, access_key_id: ${key}, secret_access_key: ${secret} }
    marshaler: otlp_proto
    batch: { max_wait: ${gather}, max_spans: 2000 }${wait === '' ? '' : `\n    ${wait.slice(2)}`}`
}

/** Who ends what was started: a test, or a leg of a long one. */
export interface Ending {
  readonly onTestFinished: (end: () => Promise<void> | void) => void
}

export interface World {
  readonly daemon: Daemon
  readonly nats: NatsServer | undefined
  readonly sender: LedgerSender
}

/** A ready daemon on `embedded` or `jetstream` and who sends to it; all of it ends with the test. */
export async function startWorld(
  driver: string,
  plan: Omit<LedgerPlan, 'endpoint'>,
  { onTestFinished }: Ending,
  places: Places = {},
): Promise<World> {
  const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
  onTestFinished(() => nats?.stop())
  const config = daemonConfig({ ...places, nats: nats?.url })
  const daemon = await startDaemon({ config })
  onTestFinished(() => daemon.stop())
  await daemon.ready()
  const sender = startSender({ ...plan, endpoint: () => daemon.endpoints.grpc })
  onTestFinished(() => sender.abort())
  return { daemon, nats, sender }
}

/** Spans of this life of the store process that reached ClickHouse. */
async function sentSpans(daemon: Daemon): Promise<number> {
  const page = await daemon.metrics().catch(() => undefined)
  return page?.sum('otelcol_exporter_sent_spans') ?? 0
}

/** Waits until spans reach ClickHouse that had not before. */
export async function untilDelivering(daemon: Daemon, timeoutMs = 120_000): Promise<void> {
  const first = await sentSpans(daemon)
  const endMs = performance.now() + timeoutMs
  while ((await sentSpans(daemon)) <= first) {
    if (performance.now() > endMs) throw new Error(`nothing is delivered:\n${daemon.log().slice(-3000)}`)
    await delay(20)
  }
}

/** Reproducible choices: the same seed, the same kills at the same distances. */
export function randomOf(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

export function seedOf(env: NodeJS.ProcessEnv): number {
  return Number(env['WEIR_FAULT_SEED'] ?? Math.floor(Math.random() * 1e9))
}

export function say(line: string): void {
  process.stdout.write(`${line}\n`)
}
