import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { expectBalance } from './reckon.ts'
import { daemonConfig, randomOf, say, seedOf } from './world.ts'

/** `WEIR_FAULT_EVENTS=100000 npm run test:faults -- intake-toon`: the long one. */
const EVENTS = Number(process.env['WEIR_FAULT_EVENTS'] ?? 2400)
const KILLS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 2)
const SEED = seedOf(process.env)
const RUNS = 4
const SENDERS = 8
const PER_BATCH = 20
/** Longer than leases and a start, on a busy machine. */
const STILL_MS = 120_000

interface Sent {
  readonly daemon: Daemon
  acked: number
  tries: number
  /** Answers that differ from the first one to the same key. */
  readonly changed: string[]
}

/** Sends until it is answered, as an SDK does: the same body under the same key. */
async function insist(sent: Sent, path: string, body: object, key: string): Promise<string> {
  const endMs = performance.now() + 120_000
  for (;;) {
    sent.tries++
    try {
      const response = await fetch(`${sent.daemon.endpoints.toon}${path}`, {
        method: 'POST',
        headers: { 'content-type': 'application/json', 'idempotency-key': key },
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(30_000),
      })
      const text = await response.text()
      if (response.ok) return text
      if (![429, 503].includes(response.status))
        throw new Error(`${path}: ${response.status} ${text}`, { cause: 'final' })
    } catch (error) {
      if ((error as Error).cause === 'final') throw error
      if (performance.now() > endMs) throw error
    }
    await delay(20)
  }
}

async function send(sent: Sent, sender: number, random: () => number): Promise<void> {
  const batches = EVENTS / SENDERS / PER_BATCH
  for (let n = 0; n < batches; n++) {
    const key = `${sender}/${n}`
    const path = `/v1/runs/run-${sender % RUNS}/events`
    const events = Array.from({ length: PER_BATCH }, (_, at) => ({
      t: new Date().toISOString(),
      actor: 'agent',
      type: 'reasoning',
      payload: { thought: `${key}/${at}` },
    }))
    const answer = await insist(sent, path, events, key)
    sent.acked += PER_BATCH
    if (random() < 0.1 && (await insist(sent, path, events, key)) !== answer) sent.changed.push(key)
  }
}

async function killOften(sent: Sent, random: () => number): Promise<void> {
  for (let n = 1; n <= KILLS; n++) {
    const due = (EVENTS * n) / (KILLS + 1)
    while (sent.acked < due) await delay(5)
    await delay(random() * 50)
    await sent.daemon.restart('SIGKILL')
  }
}

test.concurrent.for(['embedded', 'jetstream'])(
  'kill -9 during a toon run, %s: every event that was acknowledged is stored, once',
  { timeout: 240_000 + EVENTS * 5 },
  async (driver, { onTestFinished }) => {
    const random = randomOf(SEED)
    const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
    onTestFinished(() => nats?.stop())
    const config = daemonConfig({ nats: nats?.url }).replace(
      'receivers:',
      "receivers:\n  toon: { endpoint: '127.0.0.1:0' }",
    )
    const daemon = await startDaemon({
      config: config.replace('receivers: [otlp]', 'receivers: [otlp, toon]'),
    })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const sent: Sent = { daemon, acked: 0, tries: 0, changed: [] }
    const runs = Array.from({ length: RUNS }, (_, n) => `run-${n}`)
    for (const run of runs) await insist(sent, '/v1/runs', { run_id: run, agent_id: 'a' }, run)
    const begun = performance.now()
    const killer = killOften(sent, random)
    await Promise.all(Array.from({ length: SENDERS }, (_, n) => send(sent, n, random)))
    await killer
    const seconds = (performance.now() - begun) / 1000
    for (const run of runs) await insist(sent, `/v1/runs/${run}/finish`, { status: 'completed' }, '')
    const rows = await stored(daemon, EVENTS + RUNS)
    const reckoning = {
      rows,
      lost:
        EVENTS -
        (await number(
          daemon,
          `SELECT uniqExact(SpanAttributes['toon.payload']) FROM otel_traces WHERE SpanName = 'reasoning'`,
        )),
      doubled: rows - (await number(daemon, 'SELECT uniqExact(TraceId, SpanId) FROM otel_traces')),
      roots: await number(daemon, `SELECT count() FROM otel_traces WHERE ParentSpanId = ''`),
      seqs: await number(
        daemon,
        `SELECT uniqExact(RunId, Seq) FROM otel_traces WHERE SpanName = 'reasoning'`,
      ),
    }
    say(
      `kill -9 in a toon run, ${driver}, seed ${SEED}: ${JSON.stringify({ kills: KILLS, tries: sent.tries, seconds: Math.round(seconds), ...reckoning })}`,
    )
    expect(reckoning).toEqual({ rows: EVENTS + RUNS, lost: 0, doubled: 0, roots: RUNS, seqs: EVENTS })
    expect(sent.changed).toEqual([])
    await expectBalance(daemon)
  },
)

async function number(daemon: Daemon, sql: string): Promise<number> {
  const [[value] = []] = await daemon.query(sql)
  return Number(value)
}

/** Waits until the table holds that many rows, or stands still. */
async function stored(daemon: Daemon, rows: number): Promise<number> {
  let count = -1
  for (
    let grewMs = performance.now();
    count < rows && performance.now() - grewMs < STILL_MS;
    await delay(100)
  ) {
    const now = await number(daemon, 'SELECT count() FROM otel_traces')
    if (now > count) grewMs = performance.now()
    count = Math.max(count, now)
  }
  return count
}
