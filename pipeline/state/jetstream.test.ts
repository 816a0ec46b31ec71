import pino from 'pino'
import { afterAll, beforeAll } from 'vitest'
import { stateContract } from '../../test/contract/state.ts'
import { NatsServer } from '../../test/nats.ts'
import { JetStreamState } from './jetstream.ts'

let server: NatsServer
let buckets = 0

beforeAll(async () => {
  server = await NatsServer.start()
})
afterAll(() => server.stop())

stateContract('jetstream state', async () => {
  const bucket = `state${buckets++}`
  const opened: JetStreamState[] = []
  return {
    async open() {
      const log = pino({ level: 'silent' })
      const store = new JetStreamState({ nats: { servers: [server.url] }, bucket, replicas: 1, log })
      await store.open()
      opened.push(store)
      return store
    },
    async dispose() {
      await Promise.all(opened.map((store) => store.close()))
    },
  }
})
