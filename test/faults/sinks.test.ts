import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startClickHouse, type Interception } from '../clickhouse-http.ts'
import { checkArchive } from '../s3/archive-check.ts'
import type { Daemon } from '../support/daemon.ts'
import { S3Server, type S3Answer } from '../support/s3-server.ts'
import { until } from '../support/until.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { randomOf, say, seedOf, startWorld } from './world.ts'

const SEED = seedOf(process.env)
/** Of one attempt, and how long a fault stays: some attempts end in it, more begin in it. */
const TIMEOUT_MS = 1000
const HOLD_MS = 2000
/** The waits between attempts have doubled a few times by then; a busy machine does the rest. */
const BACK_MS = 120_000
/** Each fault once per round, on one sink or the other. */
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1)
/** Done and answered when the exporter has given up, or begun only then. */
const LATE_MS = 1500

type Fault =
  | 'down'
  | 'slow'
  | 'half-open'
  | 'answers after the timeout'
  | 'begins after the timeout'
  | 'answer lost'

const CLICKHOUSE: Readonly<Record<Fault, Interception>> = {
  down: { drop: 'before' },
  slow: { slowMs: TIMEOUT_MS / 2 },
  'half-open': { hang: true },
  'answers after the timeout': { lateMs: LATE_MS },
  'begins after the timeout': { slowMs: LATE_MS },
  'answer lost': { drop: 'after' },
}

const after = async (ms: number, answer: S3Answer): Promise<S3Answer> => {
  await delay(ms)
  return answer
}

const S3: Readonly<Record<Fault, () => S3Answer | Promise<S3Answer>>> = {
  down: () => 'cut',
  slow: () => after(TIMEOUT_MS / 2, 'take'),
  'half-open': () => 'hang',
  'answers after the timeout': () => ({ lateMs: LATE_MS }),
  'begins after the timeout': () => after(LATE_MS, 'take'),
  'answer lost': () => 'lose',
}

const FAULTS = Object.keys(CLICKHOUSE) as Fault[]

async function sent(daemon: Daemon, exporter: string): Promise<number> {
  return (await daemon.metrics()).sum('otelcol_exporter_sent_spans', `exporter="${exporter}"`)
}

test(
  'sinks that are down, slow, half-open, or late: nothing lost or doubled, and no sink or sender feels the other',
  { timeout: 120_000 + ROUNDS * 240_000 },
  async (context) => {
    const random = randomOf(SEED)
    const s3 = await S3Server.start()
    context.onTestFinished(() => s3.close())
    const clickhouse = await startClickHouse()
    context.onTestFinished(() => clickhouse.close())
    // A late answer is none of the failures that are looked for.
    const load = { senders: 4, spansPerRequest: 20, paceMs: 40, deadlineMs: 60_000 }
    const places = { clickhouse: clickhouse.url, s3, timeout: `${TIMEOUT_MS}ms` }
    const { daemon, sender } = await startWorld('embedded', load, context, places)
    const inflict = (sink: string, fault: Fault | undefined): void => {
      const isClickHouse = fault !== undefined && sink === 'clickhouse'
      clickhouse.intercept = isClickHouse ? () => CLICKHOUSE[fault] : undefined
      s3.rule = fault !== undefined && sink === 's3' ? S3[fault] : () => 'take'
    }
    const backMs: Record<string, number> = {}
    const sinks = random() < 0.5 ? ['s3', 'clickhouse'] : ['clickhouse', 's3']
    for (const fault of Array<typeof FAULTS>(ROUNDS).fill(FAULTS).flat()) {
      const [sink = '', other = ''] = sinks.reverse()
      const before = await sent(daemon, other)
      inflict(sink, fault)
      await Promise.all([delay(HOLD_MS), sender.progress(20)])
      // The other sink has gone on meanwhile.
      await until(async () => (await sent(daemon, other)) > before, BACK_MS)
      const stood = await sent(daemon, sink)
      inflict(sink, undefined)
      const begun = performance.now()
      await until(async () => (await sent(daemon, sink)) > stood, BACK_MS)
      backMs[`${sink} ${fault}`] = Math.round(performance.now() - begun)
    }
    await sender.finish()
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    const archived = await checkArchive(s3, sender)
    say(`sinks, seed ${SEED}: ${JSON.stringify({ ...reckoning, s3: archived, backMs })}`)
    expectExact(reckoning)
    expect(archived).toMatchObject({ lost: 0, doubled: 0, unlisted: 0, rows: reckoning.rows })
    // Intake knows nothing of sinks while the log has room.
    expect(sender.figures.failures).toEqual({})
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    for (const exporter of ['clickhouse', 's3'])
      await expectLedger(stateOf(daemon, undefined), reckoning.rows, exporter)
  },
)
