import { spawn, type ChildProcess } from 'node:child_process'
import { openSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { retry } from '../pipeline/fault.ts'
import { freePorts } from '../pipeline/net/free-ports.ts'
import { verb as cost } from './cost.ts'
import { runDemoAgent } from './demo-agent.ts'
import { runToonAgent } from './demo-toon.ts'
import { verb as query } from './query.ts'
import { verb as trace } from './trace.ts'
import type { Io, Verb } from './verb.ts'

const help = `Usage: weir demo [--keep]

Starts a daemon with an embedded WAL and an embedded ClickHouse in a temporary directory, runs an agent
program that is traced with the OpenTelemetry SDK and one that sends toon events, and prints what their calls cost
and how slow they were.

  --keep   leave the daemon running until Ctrl-C, to look around with weir query, cost and trace
`

export const verb: Verb = {
  name: 'demo',
  summary: 'a daemon, an agent program, and the answers, in under a minute',
  help,
  run: demo,
}

/** These only end what hangs: a first start on a busy machine may take a minute. */
const READY_MS = 180_000
const STORED_MS = 120_000
const STOP_MS = 60_000

const LATENCY = `SELECT Operation, if(ToolName != '', ToolName, ResponseModel) AS Name, count() AS Calls,
  round(quantile(0.5)(Duration) / 1e6) AS P50Ms, round(quantile(0.95)(Duration) / 1e6) AS P95Ms,
  countIf(StatusCode = 'Error') AS Errors
FROM otel_traces WHERE Operation IN ('chat', 'embeddings', 'execute_tool')
GROUP BY Operation, Name ORDER BY P95Ms DESC`

async function demo(argv: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: { keep: { type: 'boolean' } } })
  const directory = await mkdtemp(join(tmpdir(), 'weir-demo-'))
  const daemon = await startDaemon(directory)
  try {
    await tell(daemon, io)
    if (values.keep === true) await keep(daemon, io)
    return 0
  } finally {
    await stopDaemon(daemon)
    // A store process that outlives its daemon by a moment may still write.
    await rm(directory, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
  }
}

interface DemoDaemon {
  readonly process: ChildProcess
  readonly api: string
  readonly health: string
  readonly otlp: string
  readonly toon: string
  readonly log: string
}

async function startDaemon(directory: string): Promise<DemoDaemon> {
  const [grpc, http, toon, api, health, metrics] = await freePorts(6)
  const config = fileURLToPath(new URL('../config/examples/quickstart.yaml', import.meta.url))
  const sets = [
    `receivers.otlp.protocols.grpc.endpoint=127.0.0.1:${grpc}`,
    `receivers.otlp.protocols.http.endpoint=127.0.0.1:${http}`,
    `receivers.toon.endpoint=127.0.0.1:${toon}`,
    `extensions.api.endpoint=127.0.0.1:${api}`,
    `extensions.health.endpoint=127.0.0.1:${health}`,
    `extensions.state.directory=${join(directory, 'state')}`,
    `connectors.wal.directory=${join(directory, 'wal')}`,
    `exporters.clickhouse.directory=${join(directory, 'clickhouse')}`,
    `service.telemetry.metrics.readers=[{pull: {exporter: {prometheus: {host: 127.0.0.1, port: ${metrics}}}}}]`,
  ]
  const main = fileURLToPath(new URL('./main.js', import.meta.url))
  const log = join(directory, 'daemon.log')
  const logFile = openSync(log, 'a')
  const args = [main, 'run', '--config', config, ...sets.flatMap((each) => ['--set', each])]
  const child = spawn(process.execPath, args, { stdio: ['ignore', logFile, logFile] })
  return {
    process: child,
    log,
    api: `http://127.0.0.1:${api}`,
    health: `http://127.0.0.1:${health}`,
    otlp: `127.0.0.1:${grpc}`,
    toon: `http://127.0.0.1:${toon}`,
  }
}

async function tell(daemon: DemoDaemon, io: Io): Promise<void> {
  io.out('weir: starting a daemon with an embedded WAL and an embedded ClickHouse …\n')
  await until(READY_MS, 'the daemon to be ready', daemon, () => isReady(daemon))
  const { spans, traceId } = await runDemoAgent(daemon.otlp, Date.now())
  const toon = await runToonAgent(daemon.toon, Date.now())
  io.out(
    `An agent program sent ${spans} spans by OTLP gRPC, another one run of ${toon.spans} steps as toon events; ` +
      'every one was acknowledged, so every one is in the WAL.\n',
  )
  const all = spans + toon.spans
  await until(STORED_MS, 'the spans to be stored', daemon, async () => (await storedSpans(daemon)) >= all)
  io.out('\nWhat did it cost?  (weir cost --by model)\n\n')
  await cost.run(['--by', 'model', '--endpoint', daemon.api], io)
  io.out('\nHow slow was it?  (weir query "SELECT …")\n\n')
  await query.run([LATENCY, '--endpoint', daemon.api], io)
  io.out(`\nWhat happened in one run?  (weir trace ${traceId})\n\n`)
  await trace.run([traceId, '--endpoint', daemon.api], io)
  io.out(`\nAnd in the run that came as events?  (weir trace ${toon.runId})\n\n`)
  await trace.run([toon.runId, '--endpoint', daemon.api], io)
  io.out(NEXT)
}

const NEXT = `
Next:
  npm start                                a daemon that stays, data under ./data; OTLP on 4317 (gRPC) and 4318 (HTTP), toon on 4319
  OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4317 <your agent>
  npx weir cost --by agent,model           npx weir query --named 01    npx weir trace <trace id>
  open http://127.0.0.1:13133/status       what runs, and how durable an acknowledgement is
`

async function keep(daemon: DemoDaemon, io: Io): Promise<void> {
  io.out(`\nThe daemon runs until Ctrl-C. In another terminal:\n  export WEIR_ENDPOINT=${daemon.api}\n`)
  await new Promise<void>((resolve) => process.once('SIGINT', () => resolve()))
}

async function isReady(daemon: DemoDaemon): Promise<boolean> {
  const response = await fetch(`${daemon.health}/readyz`, { signal: AbortSignal.timeout(2000) })
  await response.arrayBuffer()
  return response.ok
}

async function storedSpans(daemon: DemoDaemon): Promise<number> {
  let printed = ''
  const quiet: Io = { out: (text) => void (printed += text), err: () => undefined, env: {}, tty: false }
  const code = await query.run(
    ['SELECT count() AS n FROM otel_traces', '--json', '--endpoint', daemon.api],
    quiet,
  )
  if (code !== 0) return 0
  const { rows } = JSON.parse(printed) as { rows: readonly { n: string }[] }
  return Number(rows[0]?.n ?? 0)
}

/** Asks again until true; an attempt that fails is one that was too early. */
async function until(
  limitMs: number,
  what: string,
  daemon: DemoDaemon,
  ask: () => Promise<boolean>,
): Promise<void> {
  const end = performance.now() + limitMs
  while (performance.now() < end && daemon.process.exitCode === null) {
    if (await ask().catch(() => false)) return
    await delay(100)
  }
  const log = await readFile(daemon.log, 'utf8').catch(() => '')
  throw retry(
    'START_FAILED',
    `gave up waiting for ${what}; the daemon's log ends:\n${log.split('\n').slice(-15).join('\n')}`,
  )
}

async function stopDaemon(daemon: DemoDaemon): Promise<void> {
  if (daemon.process.exitCode !== null) return
  const ended = new Promise<void>((resolve) => daemon.process.once('exit', () => resolve()))
  daemon.process.kill('SIGTERM')
  const timer = setTimeout(() => daemon.process.kill('SIGKILL'), STOP_MS)
  await ended
  clearTimeout(timer)
}
