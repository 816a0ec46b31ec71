import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { EmbeddedWal } from '../../pipeline/wal/embedded.ts'
import pino from 'pino'
import { afterAll, beforeAll } from 'vitest'
import { JetStreamState } from '../../pipeline/state/jetstream.ts'
import { JetStreamWal } from '../../pipeline/wal/jetstream.ts'
import { NatsServer } from '../nats.ts'
import { walContract } from './wal.ts'

const log = pino({ level: 'silent' })
let server: NatsServer
let places = 0

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.stop())

walContract('LMDB', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
  const open: { close(): Promise<void> }[] = []
  return {
    async driver() {
      const driver = new EmbeddedWal({
        directory: join(directory, 'wal'),
        maxBytes: 1 << 30,
        durability: 'process',
        clock: Date.now,
      })
      await driver.open()
      open.push(driver)
      return driver
    },
    async state() {
      const state = new EmbeddedState(join(directory, 'state'))
      await state.open()
      open.push(state)
      return state
    },
    async close() {
      for (const one of open) await one.close()
      await rm(directory, { recursive: true, force: true })
    },
  }
})

walContract('JetStream', async () => {
  const name = `P${places++}`
  const nats = { servers: [server.url] }
  const open: { close(): Promise<void> }[] = []
  return {
    async driver() {
      const driver = new JetStreamWal({
        nats,
        stream: name,
        subjectPrefix: name.toLowerCase(),
        replicas: 1,
        maxBytes: 1 << 28,
        durability: 'process',
        monitorUrl: undefined,
        storeDir: undefined,
        log,
      })
      await driver.open()
      open.push(driver)
      return driver
    },
    async state() {
      const state = new JetStreamState({ nats, bucket: `${name}_state`, replicas: 1, log })
      await state.open()
      open.push(state)
      return state
    },
    async close() {
      for (const one of open) await one.close()
    },
  }
})
