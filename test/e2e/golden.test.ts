import { hash } from 'node:crypto'
import { fileURLToPath } from 'node:url'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { ask, encodeDocument, JSON_TYPE, PROTOBUF, RawGrpcClient } from '../contract/otlp-clients.ts'
import { goldenRequests, type GoldenRequest } from '../golden/dataset.ts'
import { GOLDEN_COLUMNS, goldenRow, storedCount } from '../golden/read-back.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'

/** The golden dataset through every way in, into ClickHouse and back: equal, field by field. */
const QUICKSTART = fileURLToPath(new URL('../../config/examples/quickstart.yaml', import.meta.url))

let daemon: Daemon
let plain: RawGrpcClient
let gzipped: RawGrpcClient

beforeAll(async () => {
  daemon = await startDaemon({ config: QUICKSTART })
  await daemon.ready()
  plain = new RawGrpcClient(daemon.endpoints.grpc)
  gzipped = RawGrpcClient.gzip(daemon.endpoints.grpc)
})

afterAll(async () => {
  plain?.close()
  gzipped?.close()
  await daemon?.stop()
})

async function post(headers: Record<string, string>, body: Uint8Array): Promise<number> {
  const answer = await ask(Number(new URL(daemon.endpoints.http).port), { headers, body })
  return answer.status
}

const json = (request: GoldenRequest): Buffer => Buffer.from(JSON.stringify(request.document))
const protobuf = (request: GoldenRequest): Buffer => encodeDocument(request.document)
const zipped = { 'content-encoding': 'gzip' }

/** Name, trace id prefix, how a request is sent, what says that it was taken. */
const WAYS: readonly [string, string, (request: GoldenRequest) => Promise<number>, number][] = [
  ['gRPC', 'a1', async (request) => (await plain.export(protobuf(request))).code, 0],
  ['gRPC, gzip', 'a2', async (request) => (await gzipped.export(protobuf(request))).code, 0],
  ['HTTP, protobuf', 'b1', (request) => post(PROTOBUF, protobuf(request)), 200],
  [
    'HTTP, protobuf, gzip',
    'b2',
    (request) => post({ ...PROTOBUF, ...zipped }, gzipSync(protobuf(request))),
    200,
  ],
  ['HTTP, JSON', 'c1', (request) => post(JSON_TYPE, json(request)), 200],
  ['HTTP, JSON, gzip', 'c2', (request) => post({ ...JSON_TYPE, ...zipped }, gzipSync(json(request))), 200],
]

describe.each(WAYS)('the golden dataset by %s', (_name, prefix, send, taken) => {
  test('comes back from ClickHouse as it was sent', async () => {
    const requests = goldenRequests(prefix)
    for (const request of requests) expect(await send(request)).toBe(taken)
    const sent = new Map(requests.flatMap(({ spans }) => spans.map((span) => [span.spanId, span])))
    const mine = `startsWith(TraceId, '${prefix}')`
    expect(await storedCount(daemon, sent.size, mine)).toBe(sent.size)
    const rows = await daemon.query(`SELECT ${GOLDEN_COLUMNS} FROM otel_traces WHERE ${mine}`)
    const found = new Map(rows.map(goldenRow).map((span) => [span.spanId, span]))
    expect(found.size).toBe(sent.size)
    for (const [spanId, span] of sent) expect(found.get(spanId), span.name).toEqual(span)
  })
})

test('what was sent six ways is stored once each', async () => {
  const spans = goldenRequests('a1').reduce((sum, request) => sum + request.spans.length, 0)
  const rows = await daemon.query(
    `SELECT substring(TraceId, 1, 2) AS way, count(), uniqExact(SpanId) FROM otel_traces WHERE SpanName != 'large' GROUP BY way ORDER BY way`,
  )
  expect(rows.map((row) => row.map(String))).toEqual(
    WAYS.map(([, prefix]) => [prefix, String(spans), String(spans)]),
  )
})

/** Distinct text that does not compress away. */
function textOf(seed: string, length: number): string {
  const blocks = Array.from({ length: Math.ceil(length / 64) }, (_, at) =>
    hash('sha256', `${seed}/${at}`, 'hex'),
  )
  return blocks.join('').slice(0, length)
}

/** A span with a text of 20 to 300 KB, so that requests of all sizes use the same memory again. */
function largeRequest(seed: number): {
  readonly document: object
  readonly spanId: string
  readonly sha: string
} {
  const text = textOf(String(seed), 20_000 + ((seed * 7919) % 280_000))
  const spanId = seed.toString(16).padStart(16, '0')
  const span = {
    traceId: `d1${seed.toString(16).padStart(30, '0')}`,
    spanId,
    name: 'large',
    startTimeUnixNano: `${Date.now()}000000`,
    attributes: [{ key: 'payload', value: { stringValue: text } }],
  }
  return {
    document: { resourceSpans: [{ scopeSpans: [{ spans: [span] }] }] },
    spanId,
    sha: hash('sha256', text, 'hex'),
  }
}

test('large requests of many senders at once keep each its own text', async () => {
  const ways = WAYS.map(([, , send]) => send)
  const requests = Array.from({ length: 240 }, (_, at) => largeRequest(at + 1))
  const senders = Array.from({ length: 12 }, async (_, sender) => {
    for (let at = sender; at < requests.length; at += 12) {
      const { document } = requests[at]!
      const taken = await ways[at % ways.length]!({ document, spans: [] })
      expect(taken).toBe(WAYS[at % ways.length]![3])
    }
  })
  await Promise.all(senders)
  expect(await storedCount(daemon, requests.length, `SpanName = 'large'`)).toBe(requests.length)
  const rows = await daemon.query(
    `SELECT SpanId, lower(hex(SHA256(SpanAttributes['payload']))) FROM otel_traces WHERE SpanName = 'large'`,
  )
  expect(new Map(rows.map(([id, sha]) => [String(id), String(sha)]))).toEqual(
    new Map(requests.map(({ spanId, sha }) => [spanId, sha])),
  )
})
