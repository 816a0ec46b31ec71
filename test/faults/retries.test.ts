import { expect, test } from 'vitest'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { until } from '../support/until.ts'
import { randomOf, say, seedOf, startWorld } from './world.ts'

const SEED = seedOf(process.env)

// A repeat joins other requests in another group commit: what tells it is the member's digest, not the message.
test.concurrent.for(['embedded', 'jetstream'])(
  'a client that loses every third answer and retries, %s: nothing is stored twice',
  { timeout: 120_000 },
  async (driver, context) => {
    const random = randomOf(SEED)
    const plan = {
      senders: 12,
      spansPerRequest: 10,
      loses: (answers: number) => answers % 3 === 0,
      // Some hang up while the daemon still writes: then the repeat races with the first try.
      hangsUpMs: () => (random() < 0.1 ? random() * 5 : undefined),
    }
    const { daemon, nats, sender } = await startWorld(driver, plan, context)
    await sender.progress(1000, 60_000)
    await sender.finish()
    const messages = (await daemon.metrics()).sum('weir_wal_messages')
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(
      `lost answers, ${driver}, seed ${SEED}: ${JSON.stringify({ ...reckoning, ...sender.figures, messages })}`,
    )
    expectExact(reckoning)
    expect(sender.figures.lost).toBeGreaterThanOrEqual(500)
    expect(messages, 'no two requests shared a message: group commit was not tried').toBeLessThan(
      sender.acked.size + sender.figures.lost,
    )
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    const ledger = await expectLedger(stateOf(daemon, nats?.url), reckoning.rows)
    expect(ledger.duplicate).toBeGreaterThanOrEqual(sender.figures.lost * sender.spansPerRequest)
  },
)

// With `keep: 0s` the log forgets what is delivered, and a start finds nothing of it there.
test.concurrent.for(['embedded', 'jetstream'])(
  'a client that repeats everything after a kill -9, %s: what the log has forgotten is known still',
  { timeout: 120_000 },
  async (driver, context) => {
    const plan = { senders: 4, spansPerRequest: 10, requests: 300 }
    const { daemon, nats, sender } = await startWorld(driver, plan, context, { keep: '0s' })
    await sender.progress(300, 60_000)
    await sender.finish()
    expectExact(await reckon((sql) => daemon.query(sql), sender))
    await until(async () => (await daemon.metrics()).sum('weir_wal_messages') === 0, 30_000)
    await daemon.restart('SIGKILL')
    await daemon.ready()
    const again = startSender({ ...plan, requests: 310, endpoint: () => daemon.endpoints.grpc })
    context.onTestFinished(() => again.abort())
    await again.progress(310, 60_000)
    await again.finish()
    const reckoning = await reckon((sql) => daemon.query(sql), again)
    expectExact(reckoning)
    await until(async () => (await daemon.metrics()).sum('weir_wal_lag_spans') === 0)
    await daemon.kill('SIGTERM')
    const ledger = await expectLedger(stateOf(daemon, nats?.url), reckoning.rows)
    expect(ledger.duplicate).toBe(3000)
  },
)
