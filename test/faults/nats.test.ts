import { setTimeout as delay } from 'node:timers/promises'
import { test } from 'vitest'
import { NatsServer } from '../nats.ts'
import { startDaemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { TcpProxy } from '../support/tcp-proxy.ts'
import { spread } from './campaign.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, randomOf, say, seedOf, untilDelivering } from './world.ts'

const SEED = seedOf(process.env)
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1)
/** A dead connection is found by two pings without an answer, 4 s each; with room for a busy machine. */
const DEAD_MS = 120_000

test(
  'nats-server disconnected, restarted, stopped, or dead on the wire: nothing lost or doubled',
  { timeout: 300_000 + ROUNDS * 120_000 },
  async ({ onTestFinished }) => {
    const random = randomOf(SEED)
    const nats = await NatsServer.start()
    onTestFinished(() => nats.stop())
    const wire = await TcpProxy.start(nats.port)
    onTestFinished(() => wire.close())
    const daemon = await startDaemon({ config: daemonConfig({ nats: `nats://127.0.0.1:${wire.port}` }) })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const endpoint = (): string => daemon.endpoints.grpc
    const sender = startSender({ endpoint, senders: 6, spansPerRequest: 20, paceMs: 10 })
    onTestFinished(() => sender.abort())
    const faults: Readonly<Record<string, () => Promise<void>>> = {
      cut: async () => wire.cut(),
      restart: () => nats.restart('SIGTERM'),
      stopped: async () => {
        process.kill(nats.pid ?? 0, 'SIGSTOP')
        await delay(1500)
        process.kill(nats.pid ?? 0, 'SIGCONT')
      },
    }
    const backMs: Record<string, number[]> = {}
    const inflict = async (name: string, fault: () => Promise<void>): Promise<void> => {
      await untilDelivering(daemon)
      await delay(random() * 200)
      const begun = performance.now()
      await fault()
      await sender.progress(20, DEAD_MS)
      ;(backMs[name] ??= []).push(performance.now() - begun)
    }
    for (let round = 0; round < ROUNDS; round++) {
      for (const [name, fault] of Object.entries(faults)) await inflict(name, fault)
    }
    await inflict('dead', async () => {
      wire.die()
      await delay(1500)
      wire.heal()
    })
    await untilDelivering(daemon, DEAD_MS)
    await sender.finish()
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    const back = Object.entries(backMs).map(([name, ms]) => `${name} ${spread(ms)}`)
    say(
      `nats, seed ${SEED}: ${JSON.stringify({ ...reckoning, ...sender.figures })}, intake back: ${back.join('; ')}`,
    )
    expectExact(reckoning)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, nats.url), reckoning.rows)
  },
)
