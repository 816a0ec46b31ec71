import pino from 'pino'
import { afterAll, beforeAll } from 'vitest'
import { walDriverContract } from '../../test/contract/wal-driver.ts'
import { NatsServer } from '../../test/nats.ts'
import { JetStreamWal, type JetStreamWalOptions } from './jetstream.ts'

let server: NatsServer
let streams = 0

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.stop())

function options(maxBytes: number): JetStreamWalOptions {
  const name = `W${streams++}`
  return {
    nats: { servers: [server.url] },
    stream: name,
    subjectPrefix: name.toLowerCase(),
    replicas: 1,
    maxBytes,
    durability: 'process',
    monitorUrl: undefined,
    storeDir: undefined,
    log: pino({ level: 'silent' }),
  }
}

walDriverContract('jetstream WAL', async ({ maxBytes }) => {
  const settings = options(maxBytes)
  const opened: JetStreamWal[] = []
  return {
    async open() {
      const wal = new JetStreamWal(settings)
      await wal.open()
      opened.push(wal)
      return wal
    },
    async dispose() {
      await Promise.all(opened.map((wal) => wal.close()))
    },
  }
})
