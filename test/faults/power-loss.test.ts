import { mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { LoopDisk, runs } from '../support/mounts.ts'
import { until } from '../support/until.ts'
import { expectBalance, expectExact, reckon } from './reckon.ts'
import { daemonConfig, randomOf, say, seedOf, untilDelivering } from './world.ts'

/** `WEIR_FAULT_ROUNDS=100` for a long look. Everything durable is on a disk that loses what was not synced. */
const ROUNDS = Number(process.env['WEIR_FAULT_ROUNDS'] ?? 1)
const SEED = seedOf(process.env)
const DISK_MIB = 1024
const WAIT_MS = 120_000

/** nats-server with its store on `disk`, synchronous as `durability: strict` asks of an older one. */
async function natsOn(disk: LoopDisk): Promise<NatsServer> {
  const nats = await NatsServer.start()
  await nats.kill()
  const store = join(disk.directory, 'nats')
  if (!runs('mkdir', store) || !runs('chattr', '+S', store)) throw new Error('chattr +S failed')
  rmSync(nats.storeDir, { recursive: true })
  symlinkSync(store, nats.storeDir)
  await nats.start()
  return nats
}

test.concurrent.for(['embedded', 'jetstream'])(
  'power loss in strict mode, %s: what was acknowledged is stored, once',
  { timeout: 240_000 + ROUNDS * 180_000 },
  async (driver, context) => {
    const random = randomOf(SEED)
    const home = mkdtempSync(join(tmpdir(), 'weir-power-'))
    const disk = new LoopDisk(join(home, 'disk.img'), join(home, 'disk'))
    context.onTestFinished(() => {
      disk.remove()
      rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    })
    if (!disk.make(DISK_MIB)) context.skip('a disk that loses power needs loop mounts: this was not tried')
    const nats = driver === 'jetstream' ? await natsOn(disk) : undefined
    context.onTestFinished(() => nats?.stop())
    const on = (key: string, name: string): string => `${key}=${join(disk.directory, name)}`
    const sets = [on('exporters.clickhouse.directory', 'clickhouse'), 'connectors.wal.max_bytes=256MiB']
    if (nats === undefined)
      sets.push(on('connectors.wal.directory', 'wal'), on('extensions.state.directory', 'state'))
    else sets.push(on('connectors.wal.store_dir', 'nats'))
    const daemon = await startDaemon({
      config: daemonConfig({ nats: nats?.url, durability: 'strict' }),
      sets,
    })
    context.onTestFinished(() => daemon.stop())
    await daemon.ready()
    const endpoint = (): string => daemon.endpoints.grpc
    const sender = startSender({ endpoint, senders: 4, spansPerRequest: 10, paceMs: 20 })
    context.onTestFinished(() => sender.abort())
    const backMs: number[] = []
    for (let round = 0; round < ROUNDS; round++) {
      await untilDelivering(daemon, WAIT_MS)
      await delay(random() * 500)
      const unsynced = join(disk.directory, 'unsynced')
      writeFileSync(unsynced, 'x'.repeat(10_000))
      await cutPower(daemon, nats, disk)
      // It was a power cut: what nobody synced is gone.
      expect(contentOf(unsynced)).toBe('')
      const begun = performance.now()
      await nats?.start()
      await daemon.restart()
      await sender.progress(20, WAIT_MS)
      backMs.push(Math.round(performance.now() - begun))
    }
    await daemon.ready()
    await sender.finish(WAIT_MS)
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(`power loss, ${driver}, seed ${SEED}: ${JSON.stringify({ cuts: ROUNDS, ...reckoning, backMs })}`)
    expectExact(reckoning)
    await expectBalance(daemon)
    // Before the disk goes.
    await daemon.kill('SIGTERM')
    await nats?.kill()
  },
)

/** All stop in one moment; the disk is what it was in that moment. */
async function cutPower(daemon: Daemon, nats: NatsServer | undefined, disk: LoopDisk): Promise<void> {
  const pids = [daemon.pid, daemon.storePid(), nats?.pid].filter((pid) => pid !== undefined)
  for (const pid of pids) process.kill(pid, 'SIGSTOP')
  // Calls under way in the kernel end.
  await delay(200)
  disk.snapshot()
  const store = daemon.storePid() ?? 0
  daemon.killStore()
  await Promise.all([daemon.kill('SIGKILL'), nats?.kill('SIGKILL')])
  await until(() => store === 0 || !isThere(store))
  disk.revert()
}

function isThere(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}

function contentOf(file: string): string {
  try {
    return readFileSync(file, 'utf8')
  } catch {
    return ''
  }
}
