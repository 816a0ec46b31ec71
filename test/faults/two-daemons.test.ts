import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startClickHouse } from '../clickhouse-http.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { timed } from '../support/timed.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, say } from './world.ts'

const HAND_OVER_MS = 10_000
const KILLS = 2

test('two daemons on one JetStream: nothing is stored twice, and cursors pass on after a kill', async ({
  onTestFinished,
}) => {
  const nats = await NatsServer.start()
  onTestFinished(() => nats.stop())
  const clickhouse = await startClickHouse()
  onTestFinished(() => clickhouse.close())
  const config = daemonConfig({ nats: nats.url, clickhouse: clickhouse.url })
  const daemons = await Promise.all([startDaemon({ config }), startDaemon({ config })])
  onTestFinished(async () => void (await Promise.all(daemons.map((daemon) => daemon.stop()))))
  await Promise.all(daemons.map((daemon) => daemon.ready()))
  let turn = 0
  const endpoint = (): string => daemons[turn++ % 2]!.endpoints.grpc
  const sender = startSender({ endpoint, senders: 6, spansPerRequest: 10, paceMs: 10 })
  onTestFinished(() => sender.abort())
  const handOverMs: number[] = []
  for (let kill = 0; kill < KILLS; kill++) {
    const [holder, other] = await holderOf(daemons)
    await sender.progress(100)
    const { ms, lateMs } = await timed(async () => {
      await holder.kill('SIGKILL')
      await until(() => holds(other))
    })
    handOverMs.push(Math.round(ms))
    expect(ms).toBeLessThan(HAND_OVER_MS + lateMs)
    await holder.restart()
    await holder.ready()
  }
  await sender.progress(50)
  await sender.finish()
  const [holder] = await holderOf(daemons)
  const reckoning = await reckon((sql) => holder.query(sql), sender)
  say(`two daemons: ${JSON.stringify({ ...reckoning, handOverMs, ...sender.figures })}`)
  expectExact(reckoning)
  await expectBalance(holder)
  await expectLedger(stateOf(holder, nats.url), reckoning.rows)
})

/** It drives the cursor, as its own metrics say. */
async function holds(daemon: Daemon): Promise<boolean> {
  const page = await daemon.metrics().catch(() => undefined)
  return page?.sum('weir_cursor_held') === 1
}

async function holderOf([one, two]: readonly [Daemon, Daemon] | Daemon[]): Promise<[Daemon, Daemon]> {
  if (one === undefined || two === undefined) throw new Error('two daemons are needed')
  await until(async () => (await holds(one)) || (await holds(two)))
  return (await holds(one)) ? [one, two] : [two, one]
}

async function until(is: () => Promise<boolean>, timeoutMs = 120_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (!(await is())) {
    if (performance.now() > endMs) throw new Error('no daemon drives the cursor')
    await delay(25)
  }
}
