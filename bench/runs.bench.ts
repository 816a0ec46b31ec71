import { loadValidators } from '../processors/validators/index.ts'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pino } from 'pino'
import { writeRequest, type SpanFields } from '../proto/otlp/write.ts'
import { decodeBatch } from '../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../pipeline/batch/batch.ts'
import type { FollowerTerm, StoredLog } from '../pipeline/follower.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import type { CursorRecord } from '../pipeline/wal/cursor-record.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { EmbeddedWal } from '../pipeline/wal/embedded.ts'
import { storedLogOf } from '../pipeline/wal/stored-log.ts'
import { WalWriter } from '../pipeline/wal/writer.ts'
import { config } from '../processors/validators/config.ts'
import { afterwards } from '../processors/validators/runs/afterwards.ts'
import { decoded } from './decoded.ts'
import { standardRequest } from './shape.ts'

const loaded = await loadValidators()

/**
 * Time to judge a run of 100 events after its end, all validators with rules, verdicts written durably: as they come (out
 * of memory) and each out of the log. `node dist/bench/runs.bench.js` after a build.
 */
const RUNS = 200
const EVENTS = 100
const PER_REQUEST = 10
const THOUGHT =
  'the order was paid twice, so look for the refund and tell the customer when it comes '.repeat(4)

const settings = config.parse({
  policy: {
    rules: [
      { name: 'errors', scope: 'run', when: 'run.errors > 3 || run.steps["error"] > 3' },
      { name: 'tools', scope: 'run', when: 'run.actions.exists(a, a.startsWith("delete"))' },
    ],
  },
  action_misuse: { agents: [{ agent: '*', deny: ['delete_*'] }] },
  timelag: { gaps: [{ from: 'reasoning', to: 'final_output', max: '1h' }] },
  missing_step: { workflows: [{ steps: ['tool:search*', 'final_output', 'tool:verify'] }] },
  sequence: { order: [{ step: 'final_output', after: 'tool:search*' }] },
  event_frequency: { limits: [{ step: 'error', max: 3, per: '1m' }] },
})

function requestsOf(run: number): Batch[] {
  const traceId = Buffer.alloc(16, 0x10)
  traceId.writeUInt32LE(run)
  const spans = Array.from({ length: EVENTS }, (_, at) => eventSpan(traceId, at + 1))
  const batches: Batch[] = []
  for (let from = 0; from < EVENTS; from += PER_REQUEST)
    batches.push(batchOf(spans.slice(from, from + PER_REQUEST), run * 1000 + from))
  return batches
}

const KINDS = ['reasoning', 'action_request', 'action_response'] as const

function eventSpan(traceId: Buffer, seq: number): SpanFields {
  const type = seq === EVENTS ? 'final_output' : (KINDS[seq % 3] ?? 'reasoning')
  const spanId = Buffer.alloc(8, 1)
  spanId.writeUInt32LE(seq)
  const startNs = 1_780_272_000_000_000_000n + BigInt(seq) * 1_000_000_000n
  const action: [string, string][] = type === 'action_request' ? [['toon.action', `search_${seq % 5}`]] : []
  return {
    traceId,
    spanId,
    parentSpanId: seq === EVENTS ? undefined : Buffer.alloc(8, 2),
    name: type,
    kind: 1,
    startNs,
    endNs: startNs + 500_000_000n,
    attributes: [
      ['agent.run.id', traceId.toString('hex')],
      ['toon.seq', seq],
      ['toon.type', type],
      ['toon.payload', JSON.stringify({ thought: THOUGHT, params: { q: `order ${seq}` } })],
      ...action,
    ],
    statusCode: 1,
  }
}

function batchOf(spans: readonly SpanFields[], id: number): Batch {
  const digest = Buffer.alloc(16)
  digest.writeUInt32LE(id)
  const scope = { name: 'weir.toon', version: '1' }
  return decodeBatch(writeRequest([{ resource: [['service.name', 'agent']], scope, spans }]), {
    signal: 'traces',
    tenant: 'default',
    project: '',
    principal: '',
    source: 'bench',
    receivedAtMs: 0,
    digest,
  })
}

const SIGNAL = new AbortController().signal

interface Place {
  readonly stored: StoredLog
  readonly term: FollowerTerm
}

async function round({ stored, term }: Place, name: string, isForgetful: boolean): Promise<void> {
  const log = pino({ level: 'silent' })
  const reading: StoredLog = { ...stored, head: () => Promise.resolve(0) }
  const times: number[] = []
  const cpu: number[] = []
  for (let run = 0; run < (isForgetful ? RUNS / 5 : RUNS); run++) {
    const worker = afterwards(settings, { log, meter: createMeter() }, reading, ['bench'], loaded)
    await worker?.begin(term)
    for (const batch of requestsOf(run + (isForgetful ? RUNS : 0))) {
      const seq = (await stored.head()) + 1
      await stored.append(batch, SIGNAL)
      await worker?.take([{ batch: batch, seq, walMs: 1 }], seq, 1)
    }
    // Messages of more than the cache holds push the run's out of it.
    if (isForgetful) await worker?.take([{ batch: FILLER, seq: 1e9, walMs: 3_500_000 }], 1e9, 1)
    const used = process.cpuUsage()
    const start = performance.now()
    await worker?.quiet(await stored.head(), 3_600_000)
    times.push(performance.now() - start)
    const { user, system } = process.cpuUsage(used)
    cpu.push((user + system) / 1000)
  }
  const at = (values: readonly number[], share: number) =>
    (values.toSorted((a, b) => a - b)[Math.floor(values.length * share)] ?? 0).toFixed(1)
  process.stdout.write(
    `${name.padEnd(28)}${at(times, 0.5)} ms per run of ${EVENTS} events, p99 ${at(times, 0.99)} ms; ${at(cpu, 0.5)} ms of CPU\n`,
  )
}

/** Of another trace, and as large as the cache of messages. */
const FILLER = batchOf(
  [{ ...eventSpan(Buffer.alloc(16, 9), 1), attributes: [['text', 'x'.repeat(64 * 1024 * 1024)]] }],
  1e9,
)

/** What following the log costs per span, before anything is judged. */
async function follow({ stored, term }: Place): Promise<void> {
  const worker = afterwards(
    settings,
    { log: pino({ level: 'silent' }), meter: createMeter() },
    stored,
    ['bench'],
    loaded,
  )
  await worker?.begin(term)
  const batches = Array.from({ length: 100 }, (_, seed) => decoded(standardRequest(seed + 1, 512)))
  const start = process.cpuUsage()
  for (const [at, batch] of batches.entries()) await worker?.take([{ batch, seq: at + 1e6, walMs: 1 }], at, 1)
  const { user, system } = process.cpuUsage(start)
  const perSpan = ((user + system) * 1000) / (batches.length * 512)
  process.stdout.write(`${'following the log'.padEnd(28)}${Math.round(perSpan)} ns of CPU per span\n`)
}

const directory = await mkdtemp(join(tmpdir(), 'weir-runs-bench-'))
const driver = new EmbeddedWal({ directory, maxBytes: 2 ** 30, durability: 'process', clock: Date.now })
await driver.open()
const meter = createMeter()
const writer = new WalWriter({
  connector: 'wal',
  driver,
  meter,
  onAppended: () => undefined,
  maxPendingBytes: 1e8,
})
const state = new EmbeddedState(join(directory, 'state'))
await state.open()
const place: Place = {
  stored: storedLogOf('wal', driver, writer),
  term: {
    record: () => ({ position: 0, cursor: 'bench' }) as CursorRecord,
    save: () => Promise.resolve(),
    passed: () => Promise.resolve(0),
    state,
    signal: SIGNAL,
  },
}
await follow(place)
await round(place, 'out of memory', false)
await round(place, 'out of the log', true)
await driver.close()
await state.close()
await rm(directory, { recursive: true, force: true })
