import { existsSync, writeFileSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { startDaemon } from '../support/daemon.ts'
import { startSender } from '../support/ledger-sender.ts'
import { expectBalance, expectExact, expectLedger, reckon, stateOf } from './reckon.ts'
import { daemonConfig, say, untilDelivering } from './world.ts'

/** Debian's and Ubuntu's libfaketime; others set WEIR_FAKETIME. */
const LIBRARY = process.env['WEIR_FAKETIME'] ?? '/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1'
const WAIT_MS = 120_000
/** A clock set right after a long time, a wrong one, and one set back while spans are in flight. */
const STEPS = ['+3600', '-600', '+86400', '+0']

test('clock steps: nothing lost or doubled, whichever way', { timeout: 300_000 }, async (context) => {
  if (!existsSync(LIBRARY)) context.skip('libfaketime is missing: clock steps were not tried')
  const directory = await mkdtemp(join(tmpdir(), 'weir-clock-'))
  context.onTestFinished(() => rm(directory, { recursive: true, force: true }))
  const clock = join(directory, 'clock')
  writeFileSync(clock, '+0\n')
  const env = {
    LD_PRELOAD: LIBRARY,
    FAKETIME_TIMESTAMP_FILE: clock,
    FAKETIME_CACHE_DURATION: '1',
    FAKETIME_DONT_FAKE_MONOTONIC: '1',
    DONT_FAKE_MONOTONIC: '1',
  }
  const daemon = await startDaemon({ config: daemonConfig(), env })
  context.onTestFinished(() => daemon.stop())
  await daemon.ready()
  const endpoint = (): string => daemon.endpoints.grpc
  const sender = startSender({ endpoint, senders: 4, spansPerRequest: 10, paceMs: 20 })
  context.onTestFinished(() => sender.abort())
  const seenMs: number[] = []
  for (const [at, step] of STEPS.entries()) {
    await untilDelivering(daemon, WAIT_MS)
    writeFileSync(clock, `${step}\n`)
    // The library looks at the file once a second.
    await expect
      .poll(() => daemonClock(daemon.endpoints.health), { timeout: WAIT_MS })
      .toBeCloseTo(Number(step), -2)
    seenMs.push(Number(step))
    await sender.progress(20, WAIT_MS)
    if (at % 2 === 1) {
      await delay(100)
      await daemon.restart('SIGKILL')
      await sender.progress(20, WAIT_MS)
    }
  }
  await untilDelivering(daemon, WAIT_MS)
  await sender.finish(WAIT_MS)
  const reckoning = await reckon((sql) => daemon.query(sql), sender)
  say(`clock steps ${seenMs.join(', ')} s: ${JSON.stringify({ ...reckoning, ...sender.figures })}`)
  expectExact(reckoning)
  await expectBalance(daemon)
  await daemon.kill('SIGTERM')
  await expectLedger(stateOf(daemon, undefined), reckoning.rows)
})

/** Seconds that the daemon's clock is ahead of ours, by the Date of its answers. */
async function daemonClock(health: string): Promise<number> {
  const answer = await fetch(`${health}/livez`).catch(() => undefined)
  await answer?.arrayBuffer()
  return (Date.parse(answer?.headers.get('date') ?? '') - Date.now()) / 1000
}
