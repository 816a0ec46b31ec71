import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { createStateStore } from '../../pipeline/state/create.ts'
import { listCursors } from '../../pipeline/wal/cursor-store.ts'
import { imbalance } from '../../pipeline/wal/ledger.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { pino } from 'pino'
import { oracle } from './sampling-oracle.ts'
import { sendShuffled } from './sampling-load.ts'
import { stateOf } from './reckon.ts'
import { say, seedOf } from './world.ts'

/** `WEIR_FAULT_TRACES=100000 npm run test:faults -- sampling`: the size that the promise names. */
const TRACES = Number(process.env['WEIR_FAULT_TRACES'] ?? 2000)
const SPANS = 16
const SEED = seedOf(process.env)
const IS_BIG = TRACES > 20_000
/** The load takes about as long as this many waits, so that spans come in time and late. */
const WAIT_MS = IS_BIG ? 10_000 : 1500
const OVER_MS = IS_BIG ? 40_000 : 4000
const LIMIT = { spansPerSecond: 200, burst: 400 }
const MAX_BYTES = 64 * 1024 * 1024

const CONFIG = `receivers:
  otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } }
processors:
  cost: {}
  sampling:
    decision_wait: ${WAIT_MS}ms
    max_bytes: ${MAX_BYTES}
    policies:
      - { name: failed, type: status_code, status_code: { status_codes: [ERROR] } }
      - { name: slow, type: span_latency, span_latency: { threshold_ms: 1500 } }
      - name: scored
        type: and
        and:
          and_sub_policy:
            - { name: score, type: numeric_attribute, numeric_attribute: { key: score, min_value: 80, max_value: 100 } }
            - { name: rate, type: rate_limiting, rate_limiting: { spans_per_second: ${LIMIT.spansPerSecond} } }
      - name: paid
        type: and
        and:
          and_sub_policy:
            - { name: plan, type: string_attribute, string_attribute: { key: plan, values: [paid] } }
            - { name: half, type: probabilistic, probabilistic: { sampling_percentage: 50 } }
      - { name: share, type: probabilistic, probabilistic: { sampling_percentage: 5 } }
      - name: probes
        type: drop
        drop: { drop_sub_policy: [{ name: probe, type: boolean_attribute, boolean_attribute: { key: probe, value: true } }] }
connectors: { wal: { driver: embedded } }
exporters: { clickhouse: { endpoint: embedded } }
extensions: { state: { driver: embedded }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost, sampling], exporters: [clickhouse] }
  telemetry: { logs: { level: warn } }
`

test(
  'tail sampling, kill -9 twice: kept traces are whole, and every decision is the oracle’s',
  { timeout: 300_000 + TRACES * 10 },
  async ({ onTestFinished }) => {
    const daemon = await startDaemon({ config: CONFIG })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const stop = new AbortController()
    onTestFinished(() => stop.abort())
    const memory = watchMemory(daemon, stop.signal)
    const plan = {
      traces: TRACES,
      spansPerTrace: SPANS,
      senders: 3,
      seed: SEED,
      overMs: OVER_MS,
      spread: 0.4,
    }
    const sent = sendShuffled({ ...plan, endpoint: () => daemon.endpoints.http }, stop.signal)
    sent.catch(() => undefined)
    for (const at of [0.4, 0.45]) {
      await Promise.race([delay(OVER_MS * at), sent])
      await daemon.restart('SIGKILL')
      await daemon.ready()
    }
    const attempts = await sent
    await untilPassed(daemon, TRACES * SPANS)
    const stored = await storedTraces(daemon)
    const { rss, pending } = memory()
    await daemon.kill('SIGTERM')
    const truth = await oracle({ directory: `${daemon.directory}/wal`, waitMs: WAIT_MS, ...LIMIT })
    const wrong = differences(stored, truth.kept)
    const ledger = await ledgerOf(daemon)
    say(
      `tail sampling, seed ${SEED}: ${JSON.stringify({ traces: truth.traces, kept: truth.kept.size, stored: stored.size, lateSpans: truth.late, attempts, ...wrong, rssMiB: mib(rss), pendingMiB: mib(pending), ledger })}`,
    )
    expect(truth.traces).toBe(TRACES)
    expect(truth.kept.size).toBeGreaterThan(TRACES / 20)
    expect(truth.late).toBeGreaterThan(0)
    expect(wrong).toEqual({ missing: 0, tooMany: 0, torn: 0, doubled: 0 })
    expect(pending).toBeLessThanOrEqual(MAX_BYTES)
    expect(rss).toBeLessThan(2 * 1024 ** 3)
    expect(imbalance(ledger)).toBe(0)
    expect(ledger.stored).toBe(truth.kept.size * SPANS)
    expect(ledger.sampled).toBe((TRACES - truth.kept.size) * SPANS)
  },
)

function mib(bytes: number): number {
  return Math.round(bytes / 1024 ** 2)
}

/** The largest figures of the store process so far. */
function watchMemory(daemon: Daemon, signal: AbortSignal): () => { rss: number; pending: number } {
  const most = { rss: 0, pending: 0 }
  void (async () => {
    while (!signal.aborted) {
      const page = await daemon.metrics().catch(() => undefined)
      most.rss = Math.max(most.rss, page?.sum('otelcol_process_memory_rss', 'process="store"') ?? 0)
      most.pending = Math.max(most.pending, page?.sum('weir_tail_sampling_pending_bytes') ?? 0)
      await delay(250)
    }
  })()
  return () => most
}

/** Until the ledger has passed as many different spans. */
async function untilPassed(daemon: Daemon, spans: number): Promise<void> {
  const endMs = performance.now() + 120_000 + spans / 10
  for (;;) {
    const page = await daemon.metrics().catch(() => undefined)
    const of = (outcome: string) => page?.sum('weir_ledger_spans', `outcome="${outcome}"`) ?? 0
    if (of('passed') - of('duplicate') >= spans) return
    if (performance.now() > endMs)
      throw new Error(`only ${of('passed')} passed:\n${daemon.log().slice(-3000)}`)
    await delay(100)
  }
}

async function storedTraces(daemon: Daemon): Promise<Map<string, { count: number; different: number }>> {
  const stored = new Map<string, { count: number; different: number }>()
  for (let last = ''; ;) {
    const page = await daemon.query(
      `SELECT TraceId, count(), uniqExact(SpanId) FROM otel_traces WHERE TraceId > '${last}' GROUP BY TraceId ORDER BY TraceId LIMIT 5000`,
    )
    for (const [id, count, different] of page) {
      stored.set(String(id), { count: Number(count), different: Number(different) })
    }
    if (page.length < 5000) return stored
    last = String(page.at(-1)?.[0])
  }
}

function differences(
  stored: ReadonlyMap<string, { count: number; different: number }>,
  kept: ReadonlySet<string>,
): { missing: number; tooMany: number; torn: number; doubled: number } {
  const found = { missing: 0, tooMany: 0, torn: 0, doubled: 0 }
  for (const id of kept) if (!stored.has(id)) found.missing++
  for (const [id, { count, different }] of stored) {
    if (!kept.has(id)) found.tooMany++
    if (different !== SPANS) found.torn++
    found.doubled += count - different
  }
  return found
}

async function ledgerOf(daemon: Daemon) {
  const state = await createStateStore(stateOf(daemon, undefined), pino({ level: 'silent' }))
  await state.open()
  try {
    const cursors = await listCursors(state, 'wal')
    const cursor = cursors.find(({ record }) => record.cursor === 'traces/store/clickhouse')
    if (cursor === undefined) throw new Error('there is no cursor')
    return cursor.record.ledger
  } finally {
    await state.close()
  }
}
