import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'vitest'
import { NatsCluster } from '../nats-cluster.ts'
import { startDaemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { spread } from './campaign.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, randomOf, say, seedOf, untilDelivering } from './world.ts'

const SEED = seedOf(process.env)
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1)
const WAIT_MS = 120_000

test(
  'a cluster of three loses a node, and its disk: nothing acknowledged is lost or doubled',
  { timeout: 240_000 + ROUNDS * 180_000 },
  async ({ onTestFinished }) => {
    const random = randomOf(SEED)
    const cluster = await NatsCluster.start()
    onTestFinished(() => cluster.stop())
    const daemon = await startDaemon({ config: daemonConfig({ nats: cluster.servers, replicas: 3 }) })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const endpoint = (): string => daemon.endpoints.grpc
    const sender = startSender({ endpoint, senders: 6, spansPerRequest: 20, paceMs: 10 })
    onTestFinished(() => sender.abort())
    const backMs: number[] = []
    const lose = async (forgets: boolean): Promise<void> => {
      await untilDelivering(daemon, WAIT_MS)
      await delay(random() * 300)
      const begun = performance.now()
      // Who leads the log takes the acknowledgements: its loss is the worst.
      await cluster.lose(await cluster.leaderOf('WEIR'), forgets, async () => {
        await sender.progress(20, WAIT_MS)
        backMs.push(performance.now() - begun)
      })
      await sender.progress(20, WAIT_MS)
      await cluster.whole()
    }
    for (let round = 0; round < ROUNDS; round++) {
      await lose(false)
      await lose(true)
      // The one that came back empty has all again: with it two others may be gone in turn.
      await lose(false)
    }
    await untilDelivering(daemon, WAIT_MS)
    await sender.finish(WAIT_MS)
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(
      `cluster, seed ${SEED}: ${JSON.stringify({ ...reckoning, ...sender.figures })}, intake back ${spread(backMs)}`,
    )
    expectExact(reckoning)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, cluster.nodes[0]?.url), reckoning.rows)
  },
)
