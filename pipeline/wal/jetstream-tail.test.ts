import type { NatsConnection } from '@nats-io/transport-node'
import pino from 'pino'
import { expect, it } from 'vitest'
import { StreamTail } from './jetstream-tail.ts'

it('looks again when the connection was lost while it looked', async () => {
  let looks = 0
  const tail: StreamTail = new StreamTail({
    nc: {} as NatsConnection,
    stream: 'WEIR',
    subjectPrefix: 'weir',
    log: pino({ level: 'silent' }),
    async look() {
      if (++looks === 1) tail.doubt()
      return { lastSeq: 5, messages: 5 }
    },
    skipTo: async () => undefined,
  })
  tail.guard(async () => 5)
  await tail.mend()
  expect([looks, tail.isSound]).toEqual([2, true])
})
