import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { timed } from '../support/timed.ts'
import { expectExact, expectLedger, frozenRange, reckon, stateOf } from './reckon.ts'
import { randomOf, say, seedOf, startWorld, untilDelivering } from './world.ts'

const TIMES = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1)
/** The default of `service.shutdown_timeout`. */
const SHUTDOWN_MS = 10_000
const SEED = seedOf(process.env)

test.concurrent.for(['embedded', 'jetstream'])(
  'SIGTERM under load, %s: exit code 0 in time, and what was acknowledged is stored after the restart',
  { timeout: 240_000 + TIMES * 60_000 },
  async (driver, context) => {
    const random = randomOf(SEED)
    const plan = { senders: 6, spansPerRequest: 10, paceMs: 5 }
    const { daemon, nats, sender } = await startWorld(driver, plan, context)
    const stopMs: number[] = []
    for (let time = 0; time < TIMES; time++) {
      await sender.progress(100, 60_000)
      await untilDelivering(daemon)
      await delay(random() * 500)
      const { ms, lateMs } = await timed(async () => {
        const { code, signal } = await daemon.kill('SIGTERM')
        expect({ code, signal }, daemon.log().slice(-2000)).toEqual({ code: 0, signal: null })
      })
      expect(ms).toBeLessThan(SHUTDOWN_MS + lateMs)
      stopMs.push(Math.round(ms))
      // What was in flight is finished and booked, not left to be repeated.
      expect(await frozenRange(stateOf(daemon, nats?.url))).toBeUndefined()
      await daemon.restart()
    }
    await daemon.ready()
    await sender.progress(20, 60_000)
    await sender.finish()
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(`SIGTERM, ${driver}, seed ${SEED}: ${JSON.stringify({ ...reckoning, stopMs, ...sender.figures })}`)
    expectExact(reckoning)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, nats?.url), reckoning.rows)
  },
)
