import { setTimeout as delay } from 'node:timers/promises'
import { afterAll, expect, test } from 'vitest'
import { checkArchive, unfinished } from '../s3/archive-check.ts'
import { S3Server, type S3Answer } from '../support/s3-server.ts'
import { Campaign, type Leg } from './campaign.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { randomOf, say, seedOf, startWorld, untilDelivering, type Ending, type World } from './world.ts'

/** In README.md: the variables, and how a long campaign goes on after an interruption. */
const campaign = new Campaign(
  {
    seed: seedOf(process.env),
    legs: Number(process.env['WEIR_FAULT_LEGS'] ?? 1),
    rounds: Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1),
    spans: Number(process.env['WEIR_FAULT_SPANS'] ?? 0),
  },
  process.env['WEIR_FAULT_STATE'],
)
const SPANS_PER_REQUEST = 50
/** Not a promise: a busy machine starts a process after a minute. */
const WAIT_MS = 240_000

type Victim = 'daemon' | 'store process' | 'nats-server' | 'daemon and nats-server'

const VICTIMS: Readonly<Record<string, readonly Victim[]>> = {
  embedded: ['daemon', 'store process'],
  jetstream: ['daemon', 'store process', 'nats-server', 'daemon and nats-server'],
}

/** Each victim as often as asked for, in a seeded order. */
function victimsOf(driver: string, random: () => number): Victim[] {
  return (VICTIMS[driver] ?? [])
    .flatMap((victim) => Array<Victim>(campaign.plan.rounds).fill(victim))
    .map((victim) => ({ victim, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ victim }) => victim)
}

async function kill({ daemon, nats }: World, victim: Victim): Promise<void> {
  if (victim === 'store process') {
    await untilTrue(() => daemon.killStore() !== undefined)
    return
  }
  const both = victim === 'daemon and nats-server'
  await Promise.all([
    (both || victim === 'daemon') && daemon.kill('SIGKILL'),
    (both || victim === 'nats-server') && nats?.kill('SIGKILL'),
  ])
  if (victim !== 'daemon') await nats?.start()
  if (victim !== 'nats-server') await daemon.restart()
}

async function untilTrue(is: () => boolean): Promise<void> {
  const endMs = performance.now() + WAIT_MS
  while (!is()) {
    if (performance.now() > endMs) throw new Error('the store process did not come back to work')
    await delay(10)
  }
}

/** Slow, so that kills fall between an object and its manifest; some answers lost, some requests refused. */
function weather(random: () => number): () => Promise<S3Answer> {
  return async () => {
    await delay(random() * 150)
    const turn = random()
    if (turn < 0.03) return 'lose'
    return turn < 0.06 ? { status: 503, code: 'SlowDown' } : 'take'
  }
}

async function run(driver: string, leg: number, ending: Ending): Promise<Leg> {
  const seed = campaign.seedOf(driver, leg)
  const random = randomOf(seed)
  const s3 = await S3Server.start(weather(random))
  ending.onTestFinished(() => s3.close())
  const load = { senders: 6, spansPerRequest: SPANS_PER_REQUEST, paceMs: 20 }
  const made = await startWorld(driver, load, ending, { s3 })
  const { daemon, sender } = made
  const victims = victimsOf(driver, random)
  const requests = Math.ceil(campaign.plan.spans / victims.length / SPANS_PER_REQUEST)
  const intakeMs: number[] = []
  const deliveryMs: number[] = []
  let halfway = 0
  for (const [index, victim] of victims.entries()) {
    await delay(random() * 300)
    const killed = performance.now()
    const asked = s3.requests.length
    await kill(made, victim)
    halfway += await unfinished(s3)
    const before = sender.acked.size
    await sender.progress(20, WAIT_MS).catch((error: unknown) => {
      throw new Error(`after the kill of ${victim}:\n${daemon.log().slice(-4000)}`, { cause: error })
    })
    intakeMs.push(Math.round(performance.now() - killed))
    // Every other kill finds deliveries under way for sure, the others mostly a process that has just begun.
    if (index % 2 === 0) {
      await untilDelivering(daemon, WAIT_MS)
      deliveryMs.push(Math.round(performance.now() - killed))
      await untilTrue(() => s3.requests.length > asked + 2)
    }
    await sender.progress(requests - (sender.acked.size - before), 600_000)
  }
  await daemon.ready()
  await sender.finish(WAIT_MS)
  const clickhouse = await reckon((sql) => daemon.query(sql), sender)
  const archived = await checkArchive(s3, sender)
  const kills = victims.length
  const result = { driver, leg, seed, kills, clickhouse, s3: archived, halfway, intakeMs, deliveryMs }
  campaign.add(result)
  expectExact(clickhouse)
  expect(archived).toMatchObject({ lost: 0, doubled: 0, unlisted: 0, rows: clickhouse.rows })
  expect(s3.damaged).toEqual([])
  await expectBalance(daemon)
  await daemon.kill('SIGTERM')
  const state = stateOf(daemon, made.nats?.url)
  for (const exporter of ['clickhouse', 's3']) await expectLedger(state, clickhouse.rows, exporter)
  return result
}

afterAll(() => say(campaign.summary()))

// Both at once: most of the time goes by waiting for leases of the dead.
test.concurrent.for(Object.keys(VICTIMS))(
  'kill -9 under load, %s: what was acknowledged is in ClickHouse and S3, once',
  { timeout: campaign.plan.legs * (300_000 + campaign.plan.rounds * 600_000) },
  async (driver) => {
    for (let leg = 0; leg < campaign.plan.legs; leg++) {
      if (campaign.has(driver, leg)) continue
      const ends: (() => Promise<void> | void)[] = []
      try {
        const done = await run(driver, leg, { onTestFinished: (end) => ends.unshift(end) })
        if (campaign.plan.legs > 1) say(JSON.stringify(done))
      } finally {
        for (const end of ends) await end()
      }
    }
    const own = campaign.legs.filter((leg) => leg.driver === driver)
    expect(
      own.map(({ clickhouse, s3 }) => [clickhouse.lost, clickhouse.doubled, s3.lost, s3.doubled]),
    ).toEqual(own.map(() => [0, 0, 0, 0]))
  },
)
