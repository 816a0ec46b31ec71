import { afterAll, beforeAll, expect, it } from 'vitest'
import pino from 'pino'
import { NatsServer } from '../../test/nats.ts'
import { entryOf, gate, JobRig, NOTHING } from '../../test/support/job-rig.ts'
import { JetStreamState } from '../state/jetstream.ts'
import { readRecord } from './record.ts'

/** Daemons with a connection each to one JetStream. */

const HOUR_MS = 3_600_000
let server: NatsServer
let rig: JobRig
let other: JetStreamState

function stateOf(): JetStreamState {
  const nats = { servers: [server.url] } as ConstructorParameters<typeof JetStreamState>[0]['nats']
  return new JetStreamState({ nats, bucket: 'jobs', replicas: 1, log: pino({ level: 'silent' }) })
}

beforeAll(async () => {
  server = await NatsServer.start()
  rig = await new JobRig().open(stateOf())
  other = stateOf()
  await other.open()
})

afterAll(async () => {
  await rig.close()
  await other.close()
  await server.stop()
})

it('one of two runs each tick, and the other goes on with what the first was at when it ended', async () => {
  const entry = entryOf({ every: '1h' })
  const ran: string[] = []
  const begun = gate()
  const work =
    (name: string): Parameters<JobRig['daemon']>[1] =>
    async (task, signal) => {
      ran.push(`${name} ${task.id} ${JSON.stringify(task.checkpoint)}`)
      if (task.id !== '3' || task.checkpoint !== undefined) return NOTHING
      await task.save({ from: name })
      begun.open()
      return new Promise((_, fail) => {
        signal.addEventListener('abort', () => fail(new Error('ended')), { once: true })
      })
    }
  const one = await rig.daemon(entry, work('one'))
  const two = await rig.daemon(entry, work('two'), other)
  await expect.poll(() => readRecord(rig.state, 'tidy')).toBeDefined()
  for (const tick of [1, 2]) {
    rig.nowMs += HOUR_MS
    await rig.ended(entry, tick)
  }
  expect(ran).toHaveLength(2)
  rig.nowMs += HOUR_MS
  await begun.passed
  const holder = ran[2]?.startsWith('one') === true ? one : two
  const [first, second] = holder === one ? ['one', 'two'] : ['two', 'one']
  await holder.stop()
  await rig.ended(entry, 3)
  expect(ran.slice(2)).toEqual([`${first} 3 undefined`, `${second} 3 {"from":"${first}"}`])
})
