import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { expect, type TestContext } from 'vitest'
import { createStateStore, stateSchema, type StateConfig } from '../../pipeline/state/create.ts'
import type { CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { listCursors } from '../../pipeline/wal/cursor-store.ts'
import { imbalance, type Ledger } from '../../pipeline/wal/ledger.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender, traceId, type LedgerPlan, type LedgerSender } from '../support/ledger-sender.ts'

const NO_LOG = pino({ level: 'silent' })

export const STORE = 'traces/store'

/** A daemon with OTLP gRPC, the WAL and the state in one driver, and a store pipeline. */
export function daemonConfig(
  natsUrl: string | undefined,
  clickhouse = 'embedded',
  logLevel = 'warn',
): string {
  const place = natsUrl === undefined ? 'driver: embedded' : `driver: jetstream, servers: ['${natsUrl}']`
  return `receivers:
  otlp: { protocols: { grpc: { endpoint: '127.0.0.1:0' } } }
processors: { cost: {} }
connectors: { wal: { ${place} } }
exporters: { clickhouse: { endpoint: '${clickhouse}' } }
extensions: { state: { ${place} }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    ${STORE}: { receivers: [wal], processors: [cost], exporters: [clickhouse] }
  telemetry: { logs: { level: ${logLevel} } }
`
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
  { onTestFinished }: TestContext,
): Promise<World> {
  const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
  onTestFinished(() => nats?.stop())
  const daemon = await startDaemon({ config: daemonConfig(nats?.url) })
  onTestFinished(() => daemon.stop())
  await daemon.ready()
  const sender = startSender({ ...plan, endpoint: () => daemon.endpoints.grpc })
  onTestFinished(() => sender.abort())
  return { daemon, nats, sender }
}

export interface Reckoning {
  readonly ackedSpans: number
  readonly rows: number
  /** Acknowledged spans that are not stored. */
  readonly lost: number
  /** Rows beyond the first of a (TraceId, SpanId). */
  readonly doubled: number
  /** From the last acknowledgement to the last row. */
  readonly drainMs: number
}

/** Longer than a lease and an attempt that hangs. */
const STILL_MS = 30_000

type Ask = (sql: string) => Promise<readonly (readonly unknown[])[]>

/** Waits until the table holds as many rows as were acknowledged, or stands still, and compares span by span. */
export async function reckon(ask: Ask, sender: LedgerSender, from = 'otel_traces'): Promise<Reckoning> {
  const begun = performance.now()
  const ackedSpans = sender.acked.size * sender.spansPerRequest
  let rows = -1
  for (let grewMs = begun; rows < ackedSpans && performance.now() - grewMs < STILL_MS;) {
    const [[count] = []] = await ask(`SELECT count() FROM ${from}`)
    if (Number(count) > rows) grewMs = performance.now()
    rows = Math.max(rows, Number(count))
  }
  const drainMs = Math.round(performance.now() - begun)
  const stored = await storedTraces(ask, from)
  let lost = 0
  for (const request of sender.acked) {
    lost += sender.spansPerRequest - (stored.get(traceId(request))?.different ?? 0)
  }
  let doubled = 0
  let total = 0
  for (const { count, different } of stored.values()) {
    doubled += count - different
    total += count
  }
  return { ackedSpans, rows: total, lost, doubled, drainMs }
}

/** By pages: the API bounds the rows of an answer. */
async function storedTraces(
  ask: Ask,
  from: string,
): Promise<Map<string, { count: number; different: number }>> {
  const stored = new Map<string, { count: number; different: number }>()
  for (let last = ''; ;) {
    const page = await ask(
      `SELECT TraceId, count(), uniqExact(SpanId) FROM ${from} WHERE TraceId > '${last}' GROUP BY TraceId ORDER BY TraceId LIMIT 5000`,
    )
    for (const [id, count, different] of page) {
      stored.set(String(id), { count: Number(count), different: Number(different) })
    }
    if (page.length < 5000) return stored
    last = String(page.at(-1)?.[0])
  }
}

export function expectExact({ ackedSpans, rows, lost, doubled }: Reckoning): void {
  expect({ lost, doubled, rows }).toEqual({ lost: 0, doubled: 0, rows: ackedSpans })
}

/** The gauge of the running daemon: set at each advance of its store process, so `sent` shows that it was. */
export async function expectBalance(daemon: Daemon): Promise<void> {
  const page = await daemon.metrics()
  expect(page.sum('otelcol_exporter_sent_spans')).toBeGreaterThan(0)
  expect(page.sum('weir_accounting_imbalance_spans')).toBe(0)
}

/** The state of a daemon by `daemonConfig`. */
export function stateOf(daemon: Daemon, natsUrl: string | undefined): StateConfig {
  return stateSchema.parse(
    natsUrl === undefined
      ? { driver: 'embedded', directory: `${daemon.directory}/state` }
      : { driver: 'jetstream', servers: [natsUrl] },
  )
}

/** The range that the daemon's cursor has frozen: under delivery, or to be repeated. */
export async function frozenRange(config: StateConfig): Promise<unknown> {
  return (await cursorRecord(config)).frozen
}

/** The durable ledger of a daemon that has stopped, or of one whose state can be shared. */
export async function expectLedger(config: StateConfig, rows: number): Promise<Ledger> {
  const { ledger } = await cursorRecord(config)
  expect(imbalance(ledger)).toBe(0)
  expect(ledger.stored).toBe(rows)
  return ledger
}

async function cursorRecord(config: StateConfig): Promise<CursorRecord> {
  const state = createStateStore(config, NO_LOG)
  await state.open()
  try {
    const [cursor, ...others] = await listCursors(state, 'wal')
    if (cursor === undefined || others.length > 0) throw new Error('one cursor was expected')
    return cursor.record
  } finally {
    await state.close()
  }
}

/** Spans of this life of the store process that reached ClickHouse. */
async function sentSpans(daemon: Daemon): Promise<number> {
  const page = await daemon.metrics().catch(() => undefined)
  return page?.sum('otelcol_exporter_sent_spans') ?? 0
}

/** Waits until spans reach ClickHouse that had not before. */
export async function untilDelivering(daemon: Daemon, timeoutMs = 30_000): Promise<void> {
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
