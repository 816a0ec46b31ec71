import { jetstreamManager } from '@nats-io/jetstream'
import { connect } from '@nats-io/transport-node'
import { Socket } from 'node:net'
import { expect, it, vi } from 'vitest'
import { NatsServer } from '../../test/nats.ts'
import { JetStreamPublisher } from './jetstream-publisher.ts'
import type { StreamTail } from './jetstream-tail.ts'

it('sends again from a copy: the memory may be used again once either message was answered', async () => {
  const server = await NatsServer.start()
  const nc = await connect({ servers: server.url })
  const writes = vi.spyOn(Socket.prototype, 'write')
  try {
    const manager = await jetstreamManager(nc)
    await manager.streams.add({ name: 'WEIR', subjects: ['weir.>'] })
    const tail: Partial<StreamTail> = { confirmed: () => true, doubt: () => undefined }
    const options = { stream: 'WEIR', timeoutMs: 5000, maxInFlightBytes: 1 << 20 }
    const publisher = new JetStreamPublisher(nc, { ...options, tail: tail as StreamTail })
    const memory = Buffer.alloc(100_000, 1)
    const stored = publisher.publish('weir.a', 'one', [Buffer.from('head'), memory])
    publisher.resend()
    expect(await stored).toBe(1)
    const large = writes.mock.calls
      .map(([chunk]) => chunk as Uint8Array)
      .filter(({ length }) => length >= 1e5)
    expect(large.map((chunk) => chunk.buffer === memory.buffer)).toEqual([true, false])
    expect(Buffer.from(large[1]!).equals(Buffer.concat([Buffer.from('head'), memory]))).toBe(true)
    publisher.close()
  } finally {
    writes.mockRestore()
    await nc.close()
    await server.stop()
  }
})
