import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { clickhouse } from '../exporters/clickhouse/factory.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import type { Context } from '../pipeline/factory.ts'
import type { FollowerTerm } from '../pipeline/follower.ts'
import { Vault } from '../pipeline/identity/vault.ts'
import { NOBODY_KNOWN } from '../pipeline/identity/view.ts'
import { keptCalls } from '../pipeline/run-replay/cache.ts'
import { CacheSource } from '../pipeline/run-replay/cache-source.ts'
import { replayRun } from '../pipeline/run-replay/replay.ts'
import { TenantKeys } from '../pipeline/run-replay/tenant-keys.ts'
import { loadRun } from '../pipeline/runs/load.ts'
import { Secret } from '../pipeline/secret.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { AnswerKeeper } from '../processors/replay-cache/answer-keeper.ts'
import { config } from '../processors/replay-cache/config.ts'
import { ReplayCache } from '../processors/replay-cache/replay-cache.ts'
import { writeRequest, type SpanFields } from '../proto/otlp/write.ts'

const clickhouseMaker = await clickhouse.load()

/**
 * What keys cost a batch, and a `full` replay of a run of 100 events: read from embedded ClickHouse, its answers opened
 * from the state store. `node dist/bench/replay-run.bench.js` after a build.
 */
const EVENTS = 100
const ROUNDS = 30
const TRACE = Buffer.alloc(16, 7)
const SIGNAL = new AbortController().signal
const TEXT = 'the order was paid twice, so look for the refund and tell the customer when it comes '.repeat(
  12,
)

function spanOf(at: number): SpanFields {
  const startNs = BigInt(Date.now() + at) * 1_000_000n
  const spanId = Buffer.alloc(8, 1)
  spanId.writeUInt32LE(at)
  const isTool = at % 2 === 1
  const said = (role: string, text: string): string => JSON.stringify([{ role, content: text }])
  return {
    traceId: TRACE,
    spanId,
    name: isTool ? 'execute_tool search' : 'chat',
    kind: 3,
    startNs,
    endNs: startNs + 5_000_000n,
    statusCode: 1,
    attributes: isTool
      ? [
          ['gen_ai.operation.name', 'execute_tool'],
          ['gen_ai.tool.name', 'search'],
          ['gen_ai.tool.call.arguments', JSON.stringify({ q: `order ${at}` })],
          ['gen_ai.tool.call.result', JSON.stringify({ text: TEXT })],
        ]
      : [
          ['gen_ai.operation.name', 'chat'],
          ['gen_ai.request.model', 'gpt-4o'],
          ['gen_ai.input.messages', said('user', `${TEXT} ${at}`)],
          ['gen_ai.output.messages', said('assistant', TEXT)],
        ],
  }
}

const home = await mkdtemp(join(tmpdir(), 'weir-replay-bench-'))
const state = new EmbeddedState(join(home, 'state'))
await state.open()
const consent = {
  v: 1,
  tenant: 'default',
  id: 'c',
  type: 'llm_response_caching',
  granted_by: 'x',
  note: '',
  granted_ms: 0,
} as const
const identity = { ...NOBODY_KNOWN, consentsOf: () => [consent] }
const vault = new Vault(new Secret('11'.repeat(32)))
const context = {
  id: 'bench',
  kind: 'exporter',
  log: pino({ level: 'silent' }),
  meter: createMeter(),
  clock: Date.now,
  state,
  identity,
  vault,
} as unknown as Context
const request = writeRequest([
  {
    resource: [],
    scope: { name: 'b', version: '1' },
    spans: Array.from({ length: EVENTS }, (_, at) => spanOf(at)),
  },
])
const meta = {
  signal: 'traces',
  tenant: 'default',
  project: '',
  principal: '',
  source: 'b',
  receivedAtMs: Date.now(),
  digest: new Uint8Array(16),
} as const

const processor = new ReplayCache(context)
await processor.start()
const marked = await timed('keys of a batch of 100 calls', async () => {
  const batch = decodeBatch(request, meta)
  await processor.process(batch)
  return batch
})
const stored = decodeBatch(marked.encode(), meta)
const keeper = new AnswerKeeper(config.parse({}), context)
await keeper.begin({
  record: () => ({ position: 0 }),
  save: () => Promise.resolve(),
} as unknown as FollowerTerm)
await timed('keeping their answers', () => keeper.take([{ batch: stored, seq: 1, walMs: Date.now() }], 1))
const exporter = clickhouseMaker.create(
  clickhouse.config.parse({ directory: join(home, 'clickhouse') }),
  context,
)
await exporter.start?.()
await exporter.consume(stored, SIGNAL)
const ask = exporter.queryable
if (ask === undefined) throw new Error('the exporter cannot be queried')
const parts = { state, keys: new TenantKeys(state, vault), consents: identity }
const report = await timed('full replay of 100 events', async () => {
  const run = await loadRun(ask.query.bind(ask), { id: TRACE.toString('hex') }, SIGNAL)
  const kept = await keptCalls(parts, { tenant: run.tenant, trace: run.traceId }, Date.now())
  const cache = new CacheSource(kept, '')
  const none = { endpoint: null, restored: [], notes: [] }
  return replayRun({ run, kept, mode: 'full', llm: cache, tool: cache, ...none }, SIGNAL)
})
if (report.score !== 1) throw new Error(JSON.stringify(report.counts))
await exporter.stop?.(AbortSignal.timeout(5000))
await state.close()
await rm(home, { recursive: true, force: true })
process.exit(0)

/** Medians: of the clock, and of this process's CPU, which a busy machine does not stretch. */
async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  let result = await work()
  const rounds: { readonly ms: number; readonly cpuMs: number }[] = []
  for (let round = 0; round < ROUNDS; round++) {
    const begun = performance.now()
    const before = process.cpuUsage()
    result = await work()
    const { user, system } = process.cpuUsage(before)
    rounds.push({ ms: performance.now() - begun, cpuMs: (user + system) / 1000 })
  }
  const median = (of: (round: (typeof rounds)[number]) => number): string =>
    (rounds.map(of).sort((a, b) => a - b)[ROUNDS >> 1] ?? 0).toFixed(1)
  process.stdout.write(`${what}: ${median(({ ms }) => ms)} ms, ${median(({ cpuMs }) => cpuMs)} ms of CPU\n`)
  return result
}
