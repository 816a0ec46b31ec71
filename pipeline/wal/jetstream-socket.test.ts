import { connect, type NatsConnection } from '@nats-io/transport-node'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { NatsServer } from '../../test/nats.ts'
import { writeWhole } from './jetstream-socket.ts'

let server: NatsServer
let nc: NatsConnection

beforeEach(async () => {
  server = await NatsServer.start()
  nc = await connect({ servers: server.url })
})
afterEach(async () => {
  await nc.close()
  await server.stop()
})

const parts = [Buffer.alloc(100_000, 1), Buffer.alloc(0), Buffer.alloc(200_000, 2)]
const whole = { subject: 'a.b', reply: 'inbox.1', id: 'one', stream: 'WEIR', parts, bytes: 300_000 }

it('arrives as published, in order with what the client itself sends', async () => {
  const subscription = nc.subscribe('a.b', { max: 3 })
  nc.publish('a.b', 'before')
  expect(writeWhole(nc, whole)).toBe(true)
  nc.publish('a.b', 'after')
  const messages = []
  for await (const message of subscription) messages.push(message)
  expect(messages.map((message) => message.data.length)).toEqual([6, 300_000, 5])
  expect(Buffer.concat(parts).equals(messages[1]?.data ?? Buffer.alloc(0))).toBe(true)
  expect(messages[1]?.reply).toBe('inbox.1')
  expect(messages[1]?.headers?.get('Nats-Msg-Id')).toBe('one')
  expect(messages[1]?.headers?.get('Nats-Expected-Stream')).toBe('WEIR')
})

it('leaves a message to the client while there is no connection', async () => {
  await nc.close()
  expect(writeWhole(nc, whole)).toBe(false)
})
