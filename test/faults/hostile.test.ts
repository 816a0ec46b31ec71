import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { setTimeout as delay } from 'node:timers/promises'
import { gzipSync } from 'node:zlib'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { LatencyHistogram } from '../../bench/load/histogram.ts'
import { ask, PROTOBUF, RawGrpcClient, tracesRequest } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { testPorts } from '../support/ports.ts'
import {
  END_HEADERS,
  END_STREAM,
  FRAME,
  frame,
  grpcHeaders,
  PREFACE,
  uint32,
} from '../support/http2-frames.ts'

/**
 * Senders that mean harm, against every server of a real daemon (notes/reliability.md section 3, tests 14 to 18).
 * `WEIR_HOSTILE_SCALE=20 npx vitest run test/faults/hostile.test.ts` is nearer to the figures given there.
 */
const SCALE = Number(process.env['WEIR_HOSTILE_SCALE'] ?? 1)
const MIB = 1024 * 1024
const EXPORT = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'

const CONFIG = `
receivers:
  otlp: { protocols: { grpc: {}, http: { read_header_timeout: 5s, read_timeout: 5s } } }
  toon: { read_header_timeout: 5s, read_timeout: 5s }
processors:
  limits: {}
connectors:
  wal: { driver: embedded }
exporters:
  stdout: { verbosity: basic }
extensions:
  state: {}
  health: {}
  api: {}
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp, toon], processors: [limits], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [stdout] }
`

let daemon: Daemon
let grpc: RawGrpcClient
let toonPort = 0
beforeAll(async () => {
  ;[toonPort = 0] = await testPorts(1)
  daemon = await startDaemon({ config: CONFIG, sets: [`receivers.toon.endpoint=127.0.0.1:${toonPort}`] })
  await daemon.ready()
  grpc = new RawGrpcClient(daemon.endpoints.grpc)
})
afterAll(async () => {
  grpc?.close()
  await daemon?.stop()
})

const portOf = (url: string): number => Number(url.split(':').at(-1)?.split('/')[0])
const servers = (): [string, number][] => [
  ['toon', toonPort],
  ...(['grpc', 'http', 'api', 'health', 'metrics'] as const).map((name): [string, number] => [
    name,
    portOf(daemon.endpoints[name]),
  ]),
]
const rss = (): number =>
  Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${daemon.pid}/status`, 'utf8'))?.[1]) * 1024
const descriptors = (): number => readdirSync(`/proc/${daemon.pid}/fd`).length

let sent = 0
async function isWell(): Promise<void> {
  expect((await grpc.export(tracesRequest(`grpc-${sent++}`))).code).toBe(0)
  const http = portOf(daemon.endpoints.http)
  expect((await ask(http, { body: tracesRequest(`http-${sent++}`) })).status).toBe(200)
  expect((await fetch(`${daemon.endpoints.health}/readyz`)).status).toBe(200)
  await expect.poll(async () => (await daemon.metrics()).sum('weir_intake_bytes')).toBe(0)
}

/** A probe of one request after the other, until `work` is done: p99 in ms. */
async function p99During(work: Promise<unknown>): Promise<number> {
  const latency = new LatencyHistogram()
  const ended = new AbortController()
  void work.finally(() => ended.abort()).catch(() => undefined)
  while (!ended.signal.aborted || latency.total < 5) {
    const begun = performance.now()
    expect((await grpc.export(tracesRequest(`probe-${sent++}`))).code).toBe(0)
    latency.record((performance.now() - begun) * 1000)
    await delay(5)
  }
  await work
  return latency.quantileMs(0.99)
}

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined).resume()
  return socket
}

describe('slow senders', () => {
  it('are cut within their time by every server, while others are served', async () => {
    const before = descriptors()
    const openings = [
      '',
      'POST /v1/traces HT',
      'POST /v1/traces HTTP/1.1\r\nHost: x\r\nA: ',
      PREFACE.subarray(0, 20),
    ]
    const body =
      'POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/x-protobuf\r\nContent-Length: 100\r\n\r\n'
    const toonBody = body.replace('/v1/traces', '/v1/runs').replace('x-protobuf', 'json')
    const begun = performance.now()
    const ends = servers().flatMap(([name, port]) =>
      Array.from({ length: 40 * SCALE }, async (_, n) => {
        const socket = dial(port)
        socket.write(openings[n % 5] ?? '')
        if (n % 5 === 4 && name !== 'grpc') socket.write(name === 'toon' ? toonBody : body)
        await once(socket, 'close')
        return performance.now() - begun
      }),
    )
    // One byte now and then does not help.
    const times = await Promise.all([p99During(Promise.all(ends)), ...ends])
    const [, ...closed] = times
    // Headers 10 s, bodies here 5 s and 10 s more for a refusal to be read; looked at every 5 s.
    expect(Math.max(...closed)).toBeLessThan(40_000)
    await isWell()
    await expect.poll(descriptors).toBeLessThan(before + 20)
  })
})

describe('HTTP/2', () => {
  const hello = Buffer.concat([PREFACE, frame(FRAME.settings, 0, 0)])
  const opened = (stream: number) => frame(FRAME.headers, END_HEADERS, stream, grpcHeaders(EXPORT))
  const many = (count: number, make: (n: number) => Buffer): Buffer =>
    Buffer.concat(Array.from({ length: count }, (_, n) => make(n)))

  it.each<[string, () => Buffer]>([
    [
      'rapid reset',
      () =>
        many(5000, (n) =>
          Buffer.concat([opened(2 * n + 1), frame(FRAME.rstStream, 0, 2 * n + 1, uint32(8))]),
        ),
    ],
    ['more streams than allowed', () => many(5000, (n) => opened(2 * n + 1))],
    [
      'CONTINUATION without end',
      () =>
        Buffer.concat([
          frame(FRAME.headers, 0, 1, grpcHeaders(EXPORT)),
          many(5000, (n) =>
            frame(
              FRAME.continuation,
              0,
              1,
              Buffer.from([0x00, 4, 0x61, 0x61 + (n % 26), 0x61, 0x61, 1, 0x62]),
            ),
          ),
        ]),
    ],
    [
      'WINDOW_UPDATE overflow',
      () => Buffer.concat([opened(1), many(10, () => frame(FRAME.windowUpdate, 0, 0, uint32(0x7fffffff)))]),
    ],
    ['SETTINGS flood', () => many(20_000, () => frame(FRAME.settings, 0, 0))],
    ['PING flood', () => many(20_000, () => frame(FRAME.ping, 0, 0, Buffer.alloc(8)))],
    [
      'malformed HEADERS',
      () =>
        many(50, (n) =>
          frame(
            FRAME.headers,
            END_HEADERS | END_STREAM,
            2 * n + 1,
            Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff]),
          ),
        ),
    ],
    ['a frame larger than allowed', () => frame(FRAME.data, 0, 1, Buffer.alloc(1 << 20))],
    ['empty DATA without end', () => Buffer.concat([opened(1), many(20_000, () => frame(FRAME.data, 0, 1))])],
  ])(
    '%s: ended or outlived, others served',
    async (_, attack) => {
      const before = rss()
      const bytes = attack()
      const port = portOf(daemon.endpoints.grpc)
      const attacks = Array.from({ length: 10 * SCALE }, async () => {
        const socket = dial(port)
        socket.write(hello)
        socket.write(bytes)
        await Promise.race([once(socket, 'close'), delay(2000)])
        socket.destroy()
      })
      await p99During(Promise.all(attacks))
      await isWell()
      expect(rss() - before).toBeLessThan(300 * MIB)
    },
    120_000,
  )
})

describe('decompression bombs', () => {
  it('are refused over both transports, at the cost of the intake limit at most', async () => {
    const bomb = gzipSync(Buffer.alloc(256 * MIB), { level: 9 })
    const before = rss()
    const http = portOf(daemon.endpoints.http)
    const seen = new Map<string, number>()
    const note = (what: string) => seen.set(what, (seen.get(what) ?? 0) + 1)
    const framed = RawGrpcClient.gzip(daemon.endpoints.grpc)
    const zeros = Buffer.alloc(65 * MIB)
    const batch = async () => {
      const asked = Array.from({ length: 20 }, async () =>
        note(
          `HTTP ${(await ask(http, { body: bomb, headers: { ...PROTOBUF, 'content-encoding': 'gzip' } })).status}`,
        ),
      )
      asked.push(
        framed.export(zeros, { deadlineMs: 60_000 }).then(({ code }) => void note(`gRPC ${code}`)) as never,
      )
      await Promise.all(asked)
    }
    await p99During(
      (async () => {
        for (let i = 0; i < 2 * SCALE; i++) await batch()
      })(),
    )
    framed.close()
    // 413 and RESOURCE_EXHAUSTED; where too many inflate at once 503 and UNAVAILABLE, come again.
    expect(
      [...seen.keys()].filter((what) => !['HTTP 413', 'HTTP 503', 'gRPC 8', 'gRPC 14'].includes(what)),
    ).toEqual([])
    expect(rss() - before).toBeLessThan(400 * MIB)
    await isWell()
  }, 240_000)

  it('are not unpacked twice: stacked encodings are refused', async () => {
    const http = portOf(daemon.endpoints.http)
    const body = gzipSync(gzipSync(tracesRequest('x')))
    const answer = await ask(http, { body, headers: { ...PROTOBUF, 'content-encoding': 'gzip, gzip' } })
    expect(answer.status).toBe(400)
  })
})
