import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import {
  ask,
  JSON_TYPE,
  PROTOBUF,
  RawGrpcClient,
  readStatus,
  tracesJson,
  tracesRequest,
  type HttpAsk,
} from '../contract/otlp-clients.ts'
import { storedCount } from '../golden/read-back.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { len } from '../otlp/wire-writer.ts'

/** Bad input to the whole daemon: a clear answer of the right code, and everything acknowledged is stored. */
const QUICKSTART = fileURLToPath(new URL('../../config/examples/quickstart.yaml', import.meta.url))
const LIMIT = 64 * 1024 * 1024

let daemon: Daemon
let client: RawGrpcClient
let gzipped: RawGrpcClient
let firstPid: number
let acknowledged = 0

beforeAll(async () => {
  daemon = await startDaemon({ config: QUICKSTART })
  await daemon.ready()
  firstPid = daemon.pid
  client = new RawGrpcClient(daemon.endpoints.grpc)
  gzipped = RawGrpcClient.gzip(daemon.endpoints.grpc)
})

afterAll(async () => {
  client?.close()
  gzipped?.close()
  await daemon?.stop()
})

const port = (): number => Number(new URL(daemon.endpoints.http).port)

/** After each bad request the next good one is taken. */
async function stillTakes(): Promise<void> {
  acknowledged++
  const answer = await ask(port(), { body: tracesRequest(`good ${acknowledged}`) })
  expect(answer.status).toBe(200)
}

const gzip = { 'content-encoding': 'gzip' }
const good = tracesRequest('never stored')
const truncated = gzipSync(good).subarray(0, -12)
/** Valid OTLP of more than the limit: one span name of 64 MiB. */
const huge = (): Buffer => Buffer.from(len(1, len(2, len(2, len(5, 'x'.repeat(LIMIT))))))
const json = (text: string): HttpAsk => ({ headers: JSON_TYPE, body: Buffer.from(text) })

const HTTP: readonly [string, () => HttpAsk, number][] = [
  ['protobuf that ends in the middle', () => ({ body: good.subarray(0, -3) }), 400],
  ['bytes that are no protobuf', () => ({ body: Buffer.from('GET / HTTP/1.1') }), 400],
  ['a span id of 5 bytes', () => ({ body: len(1, len(2, len(2, len(2, 'short')))) }), 400],
  ['text that is no JSON', () => json('{"resourceSpans": [}'), 400],
  ['JSON of another type', () => json('{"resourceSpans": 7}'), 400],
  [
    'JSON with a name that is a number',
    () => json('{"resourceSpans":[{"scopeSpans":[{"spans":[{"name":7}]}]}]}'),
    400,
  ],
  ['JSON nested without end', () => json('['.repeat(100_000)), 400],
  ['truncated gzip', () => ({ headers: { ...PROTOBUF, ...gzip }, body: truncated }), 400],
  ['gzip that is none', () => ({ headers: { ...PROTOBUF, ...gzip }, body: good }), 400],
  ['an unknown encoding', () => ({ headers: { ...PROTOBUF, 'content-encoding': 'lzma' }, body: good }), 400],
  ['over 64 MiB', () => ({ body: huge() }), 413],
  ['a bomb of over 64 MiB', () => ({ headers: { ...PROTOBUF, ...gzip }, body: gzipSync(huge()) }), 413],
  [
    'a JSON bomb',
    () => ({ headers: { ...JSON_TYPE, ...gzip }, body: gzipSync(`{"a":"${'x'.repeat(LIMIT)}"}`) }),
    413,
  ],
  ['logs', () => ({ path: '/v1/logs', body: good }), 404],
  ['an unknown route', () => ({ path: '/v2/traces', body: good }), 404],
  ['a route outside', () => ({ path: '/../../etc/passwd', body: good }), 404],
  ['GET', () => ({ method: 'GET' }), 405],
  ['DELETE', () => ({ method: 'DELETE' }), 405],
  ['another content type', () => ({ headers: { 'content-type': 'text/plain' }, body: good }), 415],
  ['no content type', () => ({ headers: {}, body: good }), 415],
]

describe('HTTP', () => {
  test.each(HTTP)('%s', async (_name, make, status) => {
    const request = make()
    const answer = await ask(port(), request)
    expect(answer.status).toBe(status)
    // In the request's type; JSON where that is neither.
    const isJson = answer.headers['content-type'] === 'application/json'
    expect(isJson).toBe(
      request.headers !== undefined && request.headers['content-type'] !== PROTOBUF['content-type'],
    )
    const said = isJson
      ? (JSON.parse(answer.body.toString()) as { message: string })
      : readStatus(answer.body)
    expect(said.message).not.toBe('')
    expect(answer.headers['retry-after']).toBeUndefined()
    await stillTakes()
  })
})

const GRPC: readonly [string, () => Promise<{ code: number; details: unknown }>, number][] = [
  ['protobuf that ends in the middle', () => client.export(good.subarray(0, -3)), 3],
  ['bytes that are no protobuf', () => client.export(Buffer.from('{"resourceSpans":[]}')), 3],
  ['over 64 MiB', () => client.export(huge()), 8],
  ['a bomb of over 64 MiB', () => gzipped.export(huge()), 8],
  ['an unknown service', () => client.export(good, { path: '/no.such.Service/Export' }), 12],
  [
    'an unknown method',
    () => client.export(good, { path: '/opentelemetry.proto.collector.trace.v1.TraceService/Import' }),
    12,
  ],
  [
    'logs',
    () => client.export(good, { path: '/opentelemetry.proto.collector.logs.v1.LogsService/Export' }),
    12,
  ],
]

describe('gRPC', () => {
  test.each(GRPC)('%s', async (_name, make, code) => {
    const answer = await make()
    expect(answer.code).toBe(code)
    expect(answer.details).not.toMatchObject({ retryDelayMs: expect.anything() as unknown })
    await stillTakes()
  })
})

test('the same daemon runs, and has exactly what it acknowledged', async () => {
  const answer = await ask(port(), { headers: JSON_TYPE, body: tracesJson(`good ${acknowledged + 1}`) })
  expect(answer.status).toBe(200)
  acknowledged++
  expect(await storedCount(daemon, acknowledged)).toBe(acknowledged)
  const rows = await daemon.query("SELECT count(), countIf(startsWith(SpanName, 'good ')) FROM otel_traces")
  expect(rows[0]?.map(Number)).toEqual([acknowledged, acknowledged])
  expect(daemon.pid).toBe(firstPid)
  expect((await daemon.metrics()).sum('weir_store_process_restarts')).toBe(0)
})
