import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { pino } from 'pino'
import { wal } from '../connectors/wal/factory.ts'
import { entry } from '../pipeline/chain.ts'

import { NOBODY_KNOWN } from '../pipeline/identity/view.ts'
import { ByteGate } from '../pipeline/intake.ts'
import { ListenerPool } from '../pipeline/net/listener-pool.ts'
import { Pressure } from '../pipeline/pressure.ts'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { createMeter } from '../pipeline/telemetry/prom-meter.ts'
import { NO_USAGE } from '../pipeline/usage/usage.ts'
import { jsonl } from '../receivers/jsonl/factory.ts'
import { machine } from './report.ts'

const jsonlMaker = await jsonl.load()

/**
 * Lines of 1 KB from one file into the embedded WAL, checkpoints included: `node dist/bench/jsonl.bench.js [lines]`.
 * CPU counts all threads of the process, so that lines per CPU second are lines per core.
 */
const LINES = Number(process.argv[2] ?? 60_000)
const SIZE = 1024

const FORMATS: Readonly<Record<string, (n: number) => object>> = {
  otlp_json: (n) => ({
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'agent' } }] },
        scopeSpans: [
          {
            spans: [
              {
                traceId: hex(n, 32),
                spanId: hex(n, 16),
                name: 'chat gpt-4o',
                kind: 3,
                startTimeUnixNano: '1790000000000000000',
                endTimeUnixNano: '1790000001000000000',
                attributes: [
                  { key: 'gen_ai.request.model', value: { stringValue: 'gpt-4o' } },
                  { key: 'gen_ai.usage.input_tokens', value: { intValue: '1200' } },
                  { key: 'gen_ai.usage.output_tokens', value: { intValue: 80 } },
                  { key: 'text', value: { stringValue: '' } },
                ],
                status: { code: 1 },
              },
            ],
          },
        ],
      },
    ],
  }),
  audit: (n) => ({
    event_version: '3.0',
    trace_id: hex(n >> 5, 32),
    span_id: hex(n, 16),
    parent_span_id: hex(n >> 5, 16),
    timestamp: '2026-09-01T10:00:01.500000+00:00',
    event_type: 'llm.invoke',
    agent: 'benefits',
    action: 'search',
    status: 'ok',
    latency_ms: 12.5,
    tokens_input: 1200,
    tokens_output: 80,
    cost_usd: 0.001,
    data: { model: 'claude-3-haiku', text: '' },
  }),
  json: (n) => ({
    id: hex(n >> 5, 32),
    event: 'call',
    ts: 1_790_000_000.5,
    took: 12,
    outcome: 'ok',
    model: 'm',
    n,
    text: '',
  }),
}

function hex(n: number, digits: number): string {
  return (n + 1).toString(16).padStart(digits, '1')
}

/** The line's own text makes it 1 KB. */
function lineOf(value: object): string {
  const text = JSON.stringify(value)
  return `${text.replace('""', `"${'lorem ipsum '.repeat(100).slice(0, SIZE - 1 - text.length)}"`)}\n`
}

async function run(format: string, make: (n: number) => object): Promise<string> {
  const root = await mkdtemp(join(tmpdir(), 'weir-bench-'))
  let text = ''
  for (let n = 0; n < LINES; n++) text += lineOf(make(n))
  await writeFile(join(root, 'a.jsonl'), text)
  const bytes = Buffer.byteLength(text)
  const state = new EmbeddedState(join(root, 'state'))
  await state.open()
  const meter = createMeter()
  const base = {
    log: pino({ level: 'warn' }),
    meter,
    clock: Date.now,
    state,
    listeners: new ListenerPool(),
    intake: new ByteGate(256 * 1024 * 1024),
    identity: NOBODY_KNOWN,
    pressure: new Pressure(),
    usage: NO_USAGE,
  }
  const walContext = { ...base, id: 'wal', kind: 'connector', role: 'intake', onAppended() {} } as const
  const walConfig = wal.config.parse({ driver: 'embedded', directory: join(root, 'wal') })
  const connector = (await wal.load(walConfig, 'intake')).create(walConfig, walContext)
  await connector.start?.()
  const taken = { rows: 0 }
  const next = entry(
    [],
    {
      async consume(batch, signal) {
        const outcome = await connector.intake.consume(batch, signal)
        taken.rows += batch.rows
        return outcome
      },
    },
    { authenticated: false, lookback: connector.lookback },
  )
  const options = {
    include: [join(root, '*.jsonl')],
    start_at: 'beginning',
    mapping: { trace_id: 'id', name: 'event', time: 'ts', duration: 'took', status: 'outcome' },
  }
  const receiver = jsonlMaker.create(
    jsonl.config.parse(options),
    { ...base, id: 'jsonl', kind: 'receiver' },
    next,
  )
  const cpu = process.cpuUsage()
  const begun = performance.now()
  await receiver.start?.()
  while (taken.rows < LINES) await delay(2)
  const seconds = (performance.now() - begun) / 1000
  const used = process.cpuUsage(cpu)
  await receiver.stop?.(AbortSignal.timeout(5000))
  await connector.stop?.(AbortSignal.timeout(5000))
  await state.close()
  await rm(root, { recursive: true, force: true })
  const cpuSeconds = (used.user + used.system) / 1e6
  return `| ${format} | ${whole(bytes / LINES)} | ${whole(LINES / seconds)} | ${whole(LINES / cpuSeconds)} |\n`
}

function whole(value: number): string {
  return Math.round(value).toLocaleString('en-US')
}

process.stdout.write(
  `${machine()}; ${LINES} lines\n\n| format | bytes/line | lines/s | lines/CPU-s |\n| --- | --- | --- | --- |\n`,
)
for (const round of [0, 1]) {
  for (const [format, make] of Object.entries(FORMATS)) {
    const row = await run(format, make)
    // The first round is the warm-up of the compiler.
    if (round > 0) process.stdout.write(row)
  }
}
