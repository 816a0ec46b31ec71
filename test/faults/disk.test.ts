import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test, type TestContext } from 'vitest'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { runs } from '../support/mounts.ts'
import { until } from '../support/until.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, say, untilDelivering } from './world.ts'

/** The WAL's own disk is in `test/e2e/lifecycle.test.ts` and `pipeline/wal/embedded-damage.test.ts`. */
const BACK_MS = 90_000

/** A disk of its own, full at will. */
function smallDisk(
  context: TestContext,
  mib: number,
): { readonly directory: string; fill(): void; free(): void } {
  const directory = mkdtempSync(join(tmpdir(), 'weir-disk-'))
  context.onTestFinished(() => {
    runs('umount', '-l', directory)
    rmSync(directory, { recursive: true, force: true })
  })
  if (!runs('mount', '-t', 'tmpfs', '-o', `size=${mib}m`, 'tmpfs', directory))
    context.skip('mounting a small tmpfs needs root: a full disk was not tried')
  const filler = join(directory, 'filler')
  return {
    directory,
    fill() {
      const filled = spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'])
      expect(String(filled.stderr)).toContain('No space')
    },
    free: () => rmSync(filler),
  }
}

async function healthOf(daemon: Daemon): Promise<string> {
  const ready = await fetch(`${daemon.endpoints.health}/readyz`)
  return `${ready.status} ${await ready.text()} ${JSON.stringify(await daemon.status())}`
}

test.skipIf(process.env['WEIR_FAULTS'] === undefined)(
  'a full disk under nats-server: senders are told to come again, nothing is lost, and it goes on when nats-server does',
  { timeout: 300_000 },
  async (context) => {
    const disk = smallDisk(context, 96)
    const nats = await NatsServer.start()
    context.onTestFinished(() => nats.stop())
    await nats.kill()
    const store = join(disk.directory, 'nats')
    mkdirSync(store)
    rmSync(nats.storeDir, { recursive: true })
    symlinkSync(store, nats.storeDir)
    await nats.start()
    const sets = ['connectors.wal.max_bytes=48MiB']
    const daemon = await startDaemon({ config: daemonConfig({ nats: nats.url }), sets })
    context.onTestFinished(() => daemon.stop())
    await daemon.ready()
    const endpoint = (): string => daemon.endpoints.grpc
    const sender = startSender({ endpoint, senders: 4, spansPerRequest: 20, paceMs: 20 })
    context.onTestFinished(() => sender.abort())
    await sender.progress(40, BACK_MS)
    await untilDelivering(daemon, BACK_MS)
    disk.fill()
    await until(() => Object.keys(sender.figures.failures).length > 0, BACK_MS)
    await until(async () => /^503 .*connector:wal/s.test(await healthOf(daemon)), BACK_MS)
    const told = await healthOf(daemon)
    disk.free()
    const begun = performance.now()
    // Seen of nats-server 2.9.10: it answers nobody any more, its monitoring included, until it is started again.
    const heals = await sender.progress(40, 10_000).then(
      () => true,
      () => false,
    )
    if (!heals) await nats.restart()
    await sender.progress(40, BACK_MS)
    const backMs = Math.round(performance.now() - begun)
    await sender.finish(BACK_MS)
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(
      `nats-server's disk full: ${JSON.stringify({ ...sender.figures, ...reckoning, backMs, heals })}\n${told.slice(0, 400)}`,
    )
    expectExact(reckoning)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, nats.url), reckoning.rows)
  },
)

test.skipIf(process.env['WEIR_FAULTS'] === undefined)(
  'a full disk under embedded ClickHouse: intake goes on, health says what is wrong, all is stored once there is room',
  { timeout: 300_000 },
  async (context) => {
    const disk = smallDisk(context, 256)
    const sets = [`exporters.clickhouse.directory=${join(disk.directory, 'clickhouse')}`]
    const daemon = await startDaemon({ config: daemonConfig(), sets })
    context.onTestFinished(() => daemon.stop())
    await daemon.ready()
    const endpoint = (): string => daemon.endpoints.grpc
    const sender = startSender({ endpoint, senders: 4, spansPerRequest: 20, paceMs: 20 })
    context.onTestFinished(() => sender.abort())
    await untilDelivering(daemon, BACK_MS)
    disk.fill()
    await sender.progress(100, BACK_MS)
    await until(async () => /clickhouse.*space/is.test(await healthOf(daemon)), BACK_MS)
    const told = await healthOf(daemon)
    const stood = (await daemon.metrics()).sum('otelcol_exporter_sent_spans')
    expect(sender.figures.failures).toEqual({})
    disk.free()
    const begun = performance.now()
    await until(async () => (await daemon.metrics()).sum('otelcol_exporter_sent_spans') > stood, BACK_MS)
    const backMs = Math.round(performance.now() - begun)
    await sender.finish(BACK_MS)
    const reckoning = await reckon((sql) => daemon.query(sql), sender)
    say(
      `ClickHouse's disk full: ${JSON.stringify({ ...sender.figures, ...reckoning, backMs })}\n${told.slice(0, 600)}`,
    )
    expectExact(reckoning)
    await expectBalance(daemon)
    await daemon.kill('SIGTERM')
    await expectLedger(stateOf(daemon, undefined), reckoning.rows)
  },
)
