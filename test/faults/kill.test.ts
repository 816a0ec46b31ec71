import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'vitest'
import {
  expectBalance,
  expectExact,
  expectLedger,
  randomOf,
  reckon,
  say,
  seedOf,
  startWorld,
  stateOf,
  untilDelivering,
  type World,
} from './world.ts'

/** `WEIR_FAULT_ROUNDS=100 WEIR_FAULT_SEED=7 npm run test:faults`: longer, and the same again. */
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 10)
const SEED = seedOf(process.env)

type Victim = 'daemon' | 'store process' | 'nats-server'

/** Each victim as often as asked for, in a seeded order. */
function plan(victims: readonly Victim[], random: () => number): Victim[] {
  return victims
    .flatMap((victim) => Array<Victim>(ROUNDS).fill(victim))
    .map((victim) => ({ victim, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ victim }) => victim)
}

async function kill({ daemon, nats }: World, victim: Victim): Promise<void> {
  if (victim === 'daemon') await daemon.restart('SIGKILL')
  else if (victim === 'nats-server') await nats?.restart('SIGKILL')
  else await untilTrue(() => daemon.killStore() !== undefined)
}

async function untilTrue(is: () => boolean): Promise<void> {
  const endMs = performance.now() + 60_000
  while (!is()) {
    if (performance.now() > endMs) throw new Error('the store process did not come back')
    await delay(10)
  }
}

// Both at once: most of the time goes by waiting for leases of the dead.
test.concurrent.for([
  ['embedded', ['daemon', 'store process']],
  ['jetstream', ['daemon', 'store process', 'nats-server']],
] as const)(
  'kill -9 under load, %s: what was acknowledged is stored, once',
  { timeout: 120_000 + ROUNDS * 40_000 },
  async ([driver, victims], context) => {
    const random = randomOf(SEED)
    const made = await startWorld(driver, { senders: 6, spansPerRequest: 10, paceMs: 5 }, context)
    const { daemon, sender } = made
    const intakeMs: number[] = []
    const deliveryMs: number[] = []
    for (const [index, victim] of plan(victims, random).entries()) {
      // Every fifth kill finds inserts under way for sure, the others mostly a process that has just begun.
      if (index % 5 === 4) {
        const begun = performance.now()
        await untilDelivering(daemon)
        deliveryMs.push(performance.now() - begun)
      }
      await delay(random() * 300)
      const killed = performance.now()
      await kill(made, victim)
      await sender.progress(20, 60_000)
      intakeMs.push(performance.now() - killed)
    }
    await daemon.ready()
    await sender.finish()
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(
      `kill -9, ${driver}, seed ${SEED}: ${JSON.stringify({ kills: intakeMs.length, ...reckoning })}, ` +
        `intake back after ${summary(intakeMs)}, delivery seen after ${summary(deliveryMs)}, ${JSON.stringify(sender.figures)}`,
    )
    expectExact(reckoning)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, made.nats?.url), reckoning.rows)
  },
)

function summary(values: readonly number[]): string {
  const sorted = values.toSorted((a, b) => a - b)
  const at = (fraction: number): number => Math.round(sorted[Math.floor((sorted.length - 1) * fraction)] ?? 0)
  return `p50 ${at(0.5)} ms, max ${at(1)} ms`
}
