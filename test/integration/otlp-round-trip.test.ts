import canonicalize from 'canonicalize'
import { describe, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { otlp as exporter } from '../../exporters/otlp/factory.ts'
import { otlp as receiver } from '../../receivers/otlp/factory.ts'
import type { OtlpReceiver } from '../../receivers/otlp/otlp.ts'
import { exporterContext, testBatch, testDelivery } from '../contract/exporter.ts'
import { encodeDocument } from '../contract/otlp-clients.ts'
import { receiverContext, TestEntry } from '../contract/receiver.ts'
import { TRACE_FILES } from '../genai/expected-traces.ts'
import { sharedData } from '../genai/spans.ts'
import { goldenRequests } from '../golden/dataset.ts'

const exporterMaker = await exporter.load()
const receiverMaker = await receiver.load()

/** weir → weir: what the one's exporter sends, the other's receiver has, byte for byte or attribute for attribute. */

const NEVER = new AbortController().signal
const { meta } = testBatch([])

interface Way {
  readonly protocol: 'grpc' | 'http'
  readonly encoding: 'proto' | 'json'
  readonly compression: 'gzip' | 'none'
}
const WAYS: readonly Way[] = [
  { protocol: 'grpc', encoding: 'proto', compression: 'gzip' },
  { protocol: 'grpc', encoding: 'proto', compression: 'none' },
  { protocol: 'http', encoding: 'proto', compression: 'gzip' },
  { protocol: 'http', encoding: 'json', compression: 'none' },
]

/** The requests that arrive at a receiver when `batches` are delivered. */
async function send(batches: readonly Batch[], way: Way, more: object = {}): Promise<Batch[]> {
  const arrived: Batch[] = []
  const { context, listeners } = receiverContext('otlp')
  const protocols = { [way.protocol]: { endpoint: '127.0.0.1:0' } }
  const entry = new TestEntry(async (batch) => {
    arrived.push(batch)
    return { rejected: [] }
  })
  const server = receiverMaker.create(receiver.config.parse({ protocols }), context, entry) as OtlpReceiver
  await server.start()
  const endpoint = server.addresses.get(way.protocol) ?? ''
  const options = exporter.config.parse({ endpoint, ...way, tls: { insecure: true }, ...more })
  const client = exporterMaker.create(options, exporterContext('otlp'))
  await client.start?.()
  try {
    const outcome = await client.deliver?.(testDelivery(batches), NEVER)
    expect(outcome).toEqual({ rejected: [] })
  } finally {
    await client.stop?.(NEVER)
    await server.stop(AbortSignal.timeout(2000))
    await listeners.close()
  }
  return arrived
}

/** As `toEqual`, with the first difference instead of all of them. */
function expectSame(arrived: readonly Batch[], inputs: readonly Batch[]): void {
  const [got, wanted] = [spansOf(arrived), spansOf(inputs)]
  expect(got.length).toBe(wanted.length)
  for (const [at, span] of wanted.entries()) expect(got[at]).toBe(span)
}

/** All spans with their resource and scope, each as one text, in order of id. */
function spansOf(batches: readonly Batch[]): string[] {
  const spans: string[] = []
  for (const batch of batches) {
    for (let row = 0; row < batch.rows; row++)
      spans.push(String(canonicalize(JSON.parse(batch.select([row]).toJson()))))
  }
  return spans.sort()
}

describe.each(WAYS)('$protocol $encoding $compression', (way) => {
  test('real traces of eight frameworks arrive equal to the input', async (ctx) => {
    const texts = TRACE_FILES.map((file) => sharedData(`traces/otlp/${file}.otlp.json.gz`))
    if (texts.includes(undefined)) ctx.skip('the shared test data is not beside this checkout')
    // protobufjs and not weir makes the bytes.
    const inputs = texts.map((text) => decodeBatch(encodeDocument(JSON.parse(text ?? '{}') as object), meta))
    const arrived = await send(inputs, way)
    expect(arrived.length).toBeGreaterThan(0)
    expectSame(arrived, inputs)
  })

  test('the pairwise dataset arrives equal to the input, also when it is cut small', async () => {
    const inputs = goldenRequests('c0').map(({ document }) => decodeBatch(encodeDocument(document), meta))
    const arrived = await send(inputs, way, { batch: { max_spans: 7 } })
    expect(arrived.length).toBeGreaterThan(10)
    expectSame(arrived, inputs)
  })
})

test('a batch that nobody edited goes as the bytes that came', async () => {
  const way = { protocol: 'grpc', encoding: 'proto', compression: 'gzip' } as const
  // Fields that no codec of ours knows are still there.
  const unknown = Buffer.concat([
    testBatch([{}, {}]).encode(),
    Buffer.from([0xfa, 0x3e, 0x03, 0x61, 0x62, 0x63]),
  ])
  const [arrived] = await send([decodeBatch(unknown, meta)], way)
  expect(Buffer.compare(arrived?.encode() ?? Buffer.alloc(0), unknown)).toBe(0)
})

test('a receiver with a small limit gets the same spans in smaller requests', async () => {
  const spans = Array.from({ length: 64 }, (_, i) => ({
    attributes: [{ key: 'text', value: { stringValue: `${i}`.padEnd(40_000, 'x') } }],
  }))
  const input = testBatch(spans)
  for (const protocol of ['grpc', 'http'] as const) {
    const limit = protocol === 'grpc' ? { max_recv_msg_size_mib: 1 } : { max_request_body_size: '1MiB' }
    const arrived: Batch[] = []
    const { context, listeners } = receiverContext('otlp')
    const entry = new TestEntry(async (batch) => {
      arrived.push(batch)
      return { rejected: [] }
    })
    const protocols = { [protocol]: { endpoint: '127.0.0.1:0', ...limit } }
    const server = receiverMaker.create(receiver.config.parse({ protocols }), context, entry) as OtlpReceiver
    await server.start()
    const endpoint = server.addresses.get(protocol) ?? ''
    const options = { endpoint, protocol, tls: { insecure: true }, compression: 'none' }
    const client = exporterMaker.create(exporter.config.parse(options), exporterContext('otlp'))
    await client.start?.()
    expect(await client.deliver?.(testDelivery([input]), NEVER)).toEqual({ rejected: [] })
    expect(arrived.length).toBeGreaterThan(2)
    expectSame(arrived, [input])
    await client.stop?.(NEVER)
    await server.stop(AbortSignal.timeout(2000))
    await listeners.close()
  }
})
