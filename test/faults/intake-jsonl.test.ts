import { appendFile, copyFile, mkdtemp, rename, rm, truncate } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test, type TestContext } from 'vitest'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { randomOf, say, seedOf } from './world.ts'

/** `WEIR_FAULT_LINES=1000000 WEIR_FAULT_ROTATIONS=20 WEIR_FAULT_ROUNDS=20 npm run test:faults -- intake` */
const LINES = Number(process.env['WEIR_FAULT_LINES'] ?? 15_000)
const ROTATIONS = Number(process.env['WEIR_FAULT_ROTATIONS'] ?? 4)
const KILLS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 2)
const SEED = seedOf(process.env)
const BURST = 500
/** Longer than leases and a start, on a busy machine. */
const STILL_MS = 120_000

function config(natsUrl: string | undefined): string {
  const place = natsUrl === undefined ? 'driver: embedded' : `driver: jetstream, servers: ['${natsUrl}']`
  return `receivers:
  jsonl:
    include: ['\${env:LOGS}/**/*.jsonl*']
    start_at: beginning
    poll_interval: 20ms
    initial_buffer_size: 64KiB
    mapping: { name: n, trace_id: run, time: t }
connectors: { wal: { ${place} } }
exporters: { clickhouse: { endpoint: embedded } }
extensions: { state: { ${place} }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [jsonl], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [clickhouse] }
  telemetry: { logs: { level: warn } }
`
}

/** An agent's log with two ways of rotation in turn; a burst may end within a line. */
async function writeLog(directory: string, random: () => number): Promise<void> {
  const file = join(directory, 'agent.jsonl')
  const every = Math.ceil(LINES / (ROTATIONS + 1))
  let rotated = 0
  for (let n = 0; n < LINES;) {
    const end = Math.min(LINES, n + BURST, every * (rotated + 1))
    let text = ''
    for (; n < end; n++)
      text += `${JSON.stringify({ n: `l${n}`, run: `r${n % 100}`, t: 1.79e9 + n / 1e3, pad: 'p'.repeat(n % 300) })}\n`
    const cut = Math.floor(random() * text.length)
    await appendFile(file, text.slice(0, cut))
    if (random() < 0.3) await delay(random() * 40)
    await appendFile(file, text.slice(cut))
    if (n === LINES || n < every * (rotated + 1)) continue
    rotated++
    if (rotated % 2 === 1) await rename(file, `${file}.${rotated}`)
    else {
      await copyFile(file, `${file}.${rotated}`)
      await truncate(file, 0)
    }
  }
}

async function count(daemon: Daemon): Promise<{ rows: number; different: number }> {
  const [[rows, different] = []] = await daemon.query('SELECT count(), uniqExact(SpanName) FROM otel_traces')
  return { rows: Number(rows), different: Number(different) }
}

async function world(driver: string, { onTestFinished }: TestContext): Promise<[Daemon, string]> {
  const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
  onTestFinished(() => nats?.stop())
  const directory = await mkdtemp(join(tmpdir(), 'weir-logs-'))
  onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const daemon = await startDaemon({ config: config(nats?.url), env: { LOGS: directory } })
  onTestFinished(() => daemon.stop())
  await daemon.ready()
  return [daemon, directory]
}

test.concurrent.for(['embedded', 'jetstream'])(
  'intake jsonl: kill -9 of the daemon during a tail over rotations, %s: every line stored, once',
  { timeout: 300_000 + KILLS * 60_000 + LINES },
  async (driver, context) => {
    const random = randomOf(SEED)
    const [daemon, directory] = await world(driver, context)
    const writing = writeLog(directory, random)
    let kills = 0
    while (kills < KILLS) {
      await delay(200 + random() * 1500)
      await daemon.restart('SIGKILL')
      await daemon.ready()
      kills++
    }
    await writing
    let seen = { rows: -1, different: 0 }
    for (let grewMs = performance.now(); seen.rows < LINES && performance.now() - grewMs < STILL_MS;) {
      const now = await count(daemon)
      if (now.rows > seen.rows) grewMs = performance.now()
      seen = now
      await delay(50)
    }
    const { rows, different } = await count(daemon)
    say(
      `intake jsonl, ${driver}, seed ${SEED}: ${LINES} lines, ${ROTATIONS} rotations, ${kills} kills: ` +
        `${LINES - different} lost, ${rows - different} doubled`,
    )
    expect({ lost: LINES - different, doubled: rows - different }).toEqual({ lost: 0, doubled: 0 })
    // This life of the daemon may have had nothing left to send.
    expect((await daemon.metrics()).sum('weir_accounting_imbalance_spans')).toBe(0)
  },
)
