import { appendFileSync } from 'node:fs'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from '../faults/reckon.ts'
import { randomOf, say, seedOf, startWorld, type World } from '../faults/world.ts'
import { checkArchive } from '../s3/archive-check.ts'
import { S3Server } from '../support/s3-server.ts'
import { descriptors, diskMiB, memoryMiB, slope } from './proc.ts'

/** Steady load for an hour or more, with bursts, reloads and kills; variables in README.md. */
const MINUTES = Number(process.env['WEIR_SOAK_MINUTES'] ?? 60)
const RATE = Number(process.env['WEIR_SOAK_RATE'] ?? 1500)
const DRIVER = process.env['WEIR_SOAK_DRIVER'] ?? 'jetstream'
const REPORT = process.env['WEIR_SOAK_REPORT']
const SEED = seedOf(process.env)

const SENDERS = 6
const SPANS_PER_REQUEST = 50
const SAMPLE_MS = 5000
/** Kills end here, so that one life is long enough to see a slope; one more kill stands at the end. */
const KILLING = 0.35
const SETTLED = 0.45
const KILLS = 6

interface Sample {
  readonly minute: number
  readonly ackedSpans: number
  readonly mainMiB: number
  readonly storeMiB: number
  readonly mainFds: number
  readonly storeFds: number
  readonly walMiB: number
  readonly stateMiB: number
  readonly clickhouseMiB: number
  readonly lagSpans: number
}

async function sample({ daemon, nats, sender }: World, minute: number): Promise<Sample> {
  const page = await daemon.metrics().catch(() => undefined)
  const store = daemon.storePid()
  const disk = (name: string): number => Math.round(diskMiB(`${daemon.directory}/${name}`) * 10) / 10
  return {
    minute: Math.round(minute * 100) / 100,
    ackedSpans: sender.acked.size * SPANS_PER_REQUEST,
    mainMiB: Math.round(memoryMiB(daemon.pid) ?? Number.NaN),
    storeMiB: Math.round(memoryMiB(store) ?? Number.NaN),
    mainFds: descriptors(daemon.pid) ?? Number.NaN,
    storeFds: descriptors(store) ?? Number.NaN,
    walMiB: nats === undefined ? disk('wal') : Math.round(diskMiB(nats.storeDir) * 10) / 10,
    stateMiB: disk('state'),
    clickhouseMiB: disk('clickhouse'),
    lagSpans: page?.sum('weir_wal_lag_spans') ?? Number.NaN,
  }
}

interface Event {
  readonly minute: number
  readonly what: 'daemon' | 'store process' | 'nats-server' | 'reload' | 'burst'
}

/** A burst every eighth and a reload every twelfth of the time; kills as said above. */
function planned(random: () => number): Event[] {
  const victims = [
    'store process',
    'daemon',
    ...(DRIVER === 'jetstream' ? (['nats-server'] as const) : []),
  ] as const
  const every = (count: number, what: Event['what']): Event[] =>
    Array.from({ length: count - 1 }, (_, at) => ({ minute: (MINUTES * (at + 1)) / count, what }))
  const kills = Array.from({ length: KILLS }, (_, at) => ({
    minute: MINUTES * KILLING * ((at + random()) / KILLS),
    what: victims[at % victims.length] ?? 'daemon',
  }))
  const last: Event = { minute: MINUTES * 0.97, what: 'daemon' }
  return [...every(8, 'burst'), ...every(12, 'reload'), ...kills, last].toSorted(
    (a, b) => a.minute - b.minute,
  )
}

async function happen({ daemon, nats }: World, what: Event['what'], burst: () => void): Promise<void> {
  if (what === 'burst') burst()
  else if (what === 'reload') process.kill(daemon.pid, 'SIGHUP')
  else if (what === 'daemon') await daemon.restart('SIGKILL')
  else if (what === 'nats-server') await nats?.restart('SIGKILL')
  else daemon.killStore()
}

/** What the samples of the long life say, from `SETTLED` to the last kill. */
function trends(samples: readonly Sample[]) {
  const life = samples.filter(({ minute }) => minute > MINUTES * SETTLED && minute < MINUTES * 0.96)
  const of = (pick: (each: Sample) => number) => {
    const points = life.map((each) => [each.minute, pick(each)] as const)
    const values = points.map(([, value]) => value)
    return { perMinute: Math.round(slope(points) * 1000) / 1000, max: Math.max(...values) }
  }
  return {
    samples: life.length,
    mainMiB: of((each) => each.mainMiB),
    storeMiB: of((each) => each.storeMiB),
    mainFds: of((each) => each.mainFds),
    storeFds: of((each) => each.storeFds),
    walMiB: of((each) => each.walMiB),
    stateMiB: of((each) => each.stateMiB),
    clickhouseMiB: of((each) => each.clickhouseMiB),
    lagSpans: of((each) => each.lagSpans),
  }
}

test(
  `${MINUTES} minutes at ${RATE} spans/s over ${DRIVER}`,
  async (context) => {
    const random = randomOf(SEED)
    const s3 = await S3Server.start()
    context.onTestFinished(() => s3.close())
    const steadyMs = (SENDERS * SPANS_PER_REQUEST * 1000) / RATE
    let burstUntilMs = 0
    const paceMs = (): number => (performance.now() < burstUntilMs ? steadyMs / 4 : steadyMs)
    const load = { senders: SENDERS, spansPerRequest: SPANS_PER_REQUEST, paceMs }
    const world = await startWorld(DRIVER, load, context, { s3, keep: '30s', gather: '2s' })
    const { daemon, sender, nats } = world
    const begun = performance.now()
    const minuteNow = (): number => (performance.now() - begun) / 60_000
    const samples: Sample[] = []
    const events = planned(random)
    const startBurst = (): void => void (burstUntilMs = performance.now() + MINUTES * 1000)
    while (minuteNow() < MINUTES) {
      for (let next = events[0]; next !== undefined && next.minute <= minuteNow(); next = events[0]) {
        events.shift()
        note({ minute: minuteNow(), event: next.what })
        await happen(world, next.what, startBurst)
        await sender.progress(20, 300_000)
      }
      const taken = await sample(world, minuteNow())
      samples.push(taken)
      note(taken)
      await delay(SAMPLE_MS)
    }
    await daemon.ready()
    await sender.finish(300_000)
    const clickhouse = await reckon((sql) => daemon.query(sql), sender)
    const archived = await checkArchive(s3, sender)
    const figures = trends(samples)
    const result = {
      minutes: MINUTES,
      rate: RATE,
      driver: DRIVER,
      seed: SEED,
      clickhouse,
      s3: archived,
      figures,
    }
    note({ ...result, sender: sender.figures })
    say(`soak: ${JSON.stringify(result)}`)
    expectExact(clickhouse)
    expect(archived).toMatchObject({ lost: 0, doubled: 0, unlisted: 0, rows: clickhouse.rows })
    expect(daemon.log()).not.toMatch(/"level":(?:60|"fatal")|unhandled|out of memory/i)
    await expectBalance(daemon)
    expect((await daemon.kill('SIGTERM')).code).toBe(0)
    for (const exporter of ['clickhouse', 's3'])
      await expectLedger(stateOf(daemon, nats?.url), clickhouse.rows, exporter)
    expectSteady(figures)
  },
  (MINUTES + 30) * 60_000,
)

/** Below half an hour what a slope says is how a process warms up. */
function expectSteady(figures: ReturnType<typeof trends>): void {
  if (MINUTES < 30) return
  expect(figures.mainMiB.perMinute).toBeLessThan(1)
  expect(figures.storeMiB.perMinute).toBeLessThan(4)
  expect(figures.mainFds.perMinute).toBeLessThan(0.2)
  expect(figures.storeFds.perMinute).toBeLessThan(0.5)
  expect(figures.walMiB.perMinute).toBeLessThan(1)
}

function note(line: object): void {
  if (REPORT !== undefined) appendFileSync(REPORT, `${JSON.stringify(line)}\n`)
}
