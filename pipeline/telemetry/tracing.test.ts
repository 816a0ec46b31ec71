import { Server, ServerCredentials, type handleUnaryCall } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import type { Batch } from '../batch/batch.ts'
import { decodeBatch } from '../batch/otlp-batch.ts'
import { traced, type Tracing } from './traced.ts'
import { createTracing, INSTANCE_ID } from './tracing.ts'
import { testMeta } from '../../test/support/batch-meta.ts'

const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
let stop = (): void => undefined
afterEach(() => stop())

/** An OTLP gRPC server that gives each request to `onBatch`, as a receiver would. */
async function receiver(onBatch: (batch: Batch) => void): Promise<string> {
  const server = new Server()
  const same = (bytes: Buffer): Buffer => bytes
  const handle: handleUnaryCall<Buffer, Buffer> = (call, answer) => {
    const meta = testMeta({ source: 'otlp/grpc' })
    onBatch(decodeBatch(call.request, meta))
    answer(null, Buffer.alloc(0))
  }
  const definition = {
    path: PATH,
    requestStream: false,
    responseStream: false,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  }
  server.addService({ export: definition }, { export: handle })
  const port = await new Promise<number>((resolve, fail) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, bound) =>
      error ? fail(error) : resolve(bound),
    )
  })
  stop = () => server.forceShutdown()
  return `127.0.0.1:${port}`
}

describe("weir's own traces over OTLP gRPC", () => {
  it('come to rest when the endpoint is its own receiver', async () => {
    const arrived: Batch[] = []
    let tracing: Tracing | undefined
    const endpoint = await receiver((batch) => {
      arrived.push(batch)
      void traced(tracing, 'receiver/otlp', [batch], () => Promise.resolve())
    })
    tracing = createTracing({
      endpoint,
      insecure: true,
      resource: { 'service.name': 'weir', [INSTANCE_ID]: 'this-one' },
    })
    const foreign = { rows: 1, live: 1, resourceAttr: () => -1 } as unknown as Batch
    await traced(tracing, 'receiver/otlp', [foreign], () => Promise.resolve())
    await tracing.flush()
    expect(arrived.map((batch) => [batch.name(0), tracing?.isOwn(batch)])).toEqual([['receiver/otlp', true]])
    // Had the arrival made a span, this flush would send it.
    await tracing.flush()
    expect(arrived).toHaveLength(1)
    await tracing.stop()
  })

  it('hold up nothing when nobody answers', async () => {
    const tracing = createTracing({
      endpoint: '127.0.0.1:1',
      insecure: true,
      resource: { [INSTANCE_ID]: 'x' },
    })
    const foreign = { rows: 1, live: 1, resourceAttr: () => -1 } as unknown as Batch
    expect(await traced(tracing, 'a', [foreign], () => Promise.resolve(7))).toBe(7)
    await tracing.stop().catch(() => undefined)
  })
})
