import { afterEach, expect, test } from 'vitest'
import { ACCEPTED } from '../../pipeline/consumer.ts'
import { retry } from '../../pipeline/fault.ts'
import { otlp } from '../../receivers/otlp/factory.ts'
import type { OtlpReceiver } from '../../receivers/otlp/otlp.ts'
import { receiverContext, TestEntry } from '../../test/contract/receiver.ts'
import { standardRequest } from '../shape.ts'
import { GrpcConnection } from './h2.ts'

const otlpMaker = await otlp.load()

// The generator speaks HTTP/2 in bare frames: what it calls acknowledged must be what the daemon acknowledged.

let end: (() => Promise<void>) | undefined
afterEach(() => end?.())

async function started(entry: TestEntry): Promise<GrpcConnection> {
  const { context } = receiverContext('otlp')
  const config = otlp.config.parse({ protocols: { grpc: { endpoint: '127.0.0.1:0' } } })
  const receiver = otlpMaker.create(config, context, entry) as OtlpReceiver
  await receiver.start()
  const connection = new GrpcConnection(receiver.addresses.get('grpc') ?? '')
  end = async () => {
    connection.close()
    await receiver.stop(AbortSignal.timeout(1000))
  }
  return connection
}

function framed(seed: number, spans: number): Buffer {
  const request = standardRequest(seed, spans)
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(request.length, 1)
  return Buffer.concat([prefix, request])
}

test('counts an answer with a message as acknowledged, also for bodies beyond every window', async () => {
  const seen: number[] = []
  const connection = await started(
    new TestEntry((batch) => {
      seen.push(batch.rows)
      return Promise.resolve(ACCEPTED)
    }),
  )
  // 8 requests of 400 KB exceed the windows of the streams and of the connection.
  const large = Array.from({ length: 8 }, (_, at) => connection.send(framed(at, 512)))
  const lane = async (first: number) => {
    for (let at = 0; at < 100; at++) {
      expect(await connection.send(framed(first + at, 1))).toEqual({ kind: 'ok', detail: '' })
    }
  }
  await Promise.all(Array.from({ length: 20 }, (_, at) => lane(1000 * (at + 1))))
  expect((await Promise.all(large)).map(({ kind }) => kind)).toEqual(Array(8).fill('ok'))
  expect(seen.reduce((sum, rows) => sum + rows, 0)).toBe(8 * 512 + 2000)
})

test('counts an answer of trailers alone as refused, and a lost connection as failed', async () => {
  const connection = await started(
    new TestEntry(() => Promise.reject(retry('WAL_FULL', 'the write-ahead log is full'))),
  )
  expect((await connection.send(framed(1, 1))).kind).toBe('refused')
  connection.close()
  await expect.poll(async () => (await connection.send(framed(2, 1))).kind).toBe('failed')
})
