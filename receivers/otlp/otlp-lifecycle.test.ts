import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { Agent, type IncomingMessage } from 'node:http'
import {
  connect as connect2,
  constants,
  createServer as createServer2,
  type ClientHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import { request as requestTls } from 'node:https'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { credentials } from '@grpc/grpc-js'
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import { BasicTracerProvider, SimpleSpanProcessor, type SpanExporter } from '@opentelemetry/sdk-trace-base'
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from 'vitest'
import type { Head } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import { ListenerPool } from '../../pipeline/net/listener-pool.ts'
import { ask, RawGrpcClient, tracesRequest } from '../../test/contract/otlp-clients.ts'
import { receiverContext, TestEntry } from '../../test/contract/receiver.ts'
import { otlp } from './factory.ts'
import type { OtlpReceiver } from './otlp.ts'

const otlpMaker = await otlp.load()

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Names of the spans that the pipeline took. */
class Stored extends TestEntry {
  readonly names: string[] = []
  readonly heads: Head[] = []

  constructor() {
    super(async (batch: Batch) => {
      // An answer that takes a turn of the loop, as a durable write does.
      await new Promise((resolve) => setImmediate(resolve))
      for (let row = 0; row < batch.rows; row++) this.names.push(batch.name(row))
      return ACCEPTED
    })
  }

  override async admit(head?: Head) {
    if (head) this.heads.push(head)
    return super.admit()
  }
}

async function start(protocols: unknown, entry = new Stored(), pool?: ListenerPool) {
  const { context, listeners } = receiverContext('otlp')
  const create = () =>
    otlpMaker.create(
      otlp.config.parse({ protocols }),
      { ...context, listeners: pool ?? listeners },
      entry,
    ) as OtlpReceiver
  const receiver = create()
  await receiver.start()
  cleanups.push(async () => {
    await receiver.stop(AbortSignal.timeout(2000))
    await (pool ?? listeners).close()
  })
  const grpc = receiver.addresses.get('grpc') ?? ''
  const http = receiver.addresses.get('http') ?? ''
  return {
    receiver,
    create,
    entry,
    grpc,
    http,
    httpPort: Number(http.split(':')[1]),
    pool: pool ?? listeners,
  }
}

const BOTH = { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: '127.0.0.1:0' } }

describe('the official SDK exporters', () => {
  it.each([
    ['otlp-grpc', (grpc: string) => new GrpcExporter({ url: `http://${grpc}` })],
    ['otlp-http', (_: string, http: string) => new HttpExporter({ url: `http://${http}/v1/traces` })],
    ['otlp-proto', (_: string, http: string) => new ProtoExporter({ url: `http://${http}/v1/traces` })],
    [
      'otlp-proto with gzip',
      (_: string, http: string) =>
        new ProtoExporter({ url: `http://${http}/v1/traces`, compression: 'gzip' as never }),
    ],
  ] as readonly (readonly [string, (grpc: string, http: string) => SpanExporter])[])(
    '%s delivers',
    async (name, exporter) => {
      const { grpc, http, entry } = await start(BOTH)
      const provider = new BasicTracerProvider({
        spanProcessors: [new SimpleSpanProcessor(exporter(grpc, http))],
      })
      const tracer = provider.getTracer('test')
      for (let n = 0; n < 3; n++)
        tracer.startSpan(`${name} ${n}`, { attributes: { 'gen_ai.system': 'x' } }).end()
      await provider.forceFlush()
      await provider.shutdown()
      expect(entry.names.sort()).toEqual([0, 1, 2].map((n) => `${name} ${n}`))
    },
  )
})

/** Sends until told to stop; knows what was acknowledged, refused, and broken off without an answer. */
function loader(prefix: string, send: (id: string) => Promise<boolean>) {
  const acknowledged: string[] = []
  const failures: string[] = []
  const going = new AbortController()
  const run = async () => {
    for (let n = 0; !going.signal.aborted; n++) {
      const id = `${prefix}-${n}`
      const failure = await send(id).then(
        (ok) => (ok ? undefined : 'refused'),
        (error: unknown) => String(error),
      )
      if (failure === undefined) acknowledged.push(id)
      else failures.push(`${id}: ${failure}`)
      // grpc-js fails calls without a connection within the same turn of the loop, which would never end.
      if (failure !== undefined) await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const done = run()
  const stop = () => {
    going.abort()
    return done
  }
  return { acknowledged, failures, stop }
}

function load(grpcAddress: string, port: number) {
  const agent = new Agent({ keepAlive: true })
  const client = new RawGrpcClient(grpcAddress)
  const overHttp = async (id: string) => (await ask(port, { body: tracesRequest(id), agent })).status === 200
  const overGrpc = async (id: string) => (await client.export(tracesRequest(id))).code === 0
  const loaders = [
    loader('h1', overHttp),
    loader('h2', overHttp),
    loader('g1', overGrpc),
    loader('g2', overGrpc),
  ]
  cleanups.push(() => {
    agent.destroy()
    client.close()
  })
  return {
    loaders,
    acknowledged: () => loaders.flatMap((each) => each.acknowledged),
    stop: () => Promise.all(loaders.map((each) => each.stop())),
  }
}

const everyoneHas = (count: number, loaders: readonly { acknowledged: string[] }[]) =>
  Math.min(...loaders.map((each) => each.acknowledged.length)) >= count

/** Headers and trailers of the answer, and the code that the stream ended with. */
async function exportOn(session: ClientHttp2Session, body: Uint8Array): Promise<Record<string, unknown>> {
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    'content-type': 'application/grpc',
  })
  const fields: Record<string, unknown> = {}
  stream.on('error', () => {})
  stream.on('response', (headers) => Object.assign(fields, headers))
  stream.on('trailers', (trailers) => Object.assign(fields, trailers))
  stream.resume()
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(body.length, 1)
  stream.end(Buffer.concat([prefix, body]))
  await new Promise((resolve) => stream.on('close', resolve))
  return { ...fields, rst: stream.rstCode }
}

/** What all server streams of node:http2 have in common, which it does not export. */
async function serverStreams(): Promise<ServerHttp2Stream> {
  const server = createServer2().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const session = connect2(`http://127.0.0.1:${(server.address() as AddressInfo).port}`)
  session.request().on('error', () => {})
  const [stream] = (await once(server, 'stream')) as [ServerHttp2Stream]
  session.destroy()
  server.close()
  return Object.getPrototypeOf(stream) as ServerHttp2Stream
}

describe('stop and reload', () => {
  it('loses nothing that was acknowledged when it stops under load', async () => {
    const { receiver, entry, grpc, httpPort } = await start(BOTH)
    const { loaders, acknowledged, stop } = load(grpc, httpPort)
    await expect.poll(() => everyoneHas(20, loaders)).toBe(true)
    await receiver.stop(AbortSignal.timeout(5000))
    await stop()
    expect(entry.names).toEqual(expect.arrayContaining(acknowledged()))
    expect(new Set(entry.names).size).toBe(entry.names.length)
    expect(entry.released).toBe(entry.admitted)
  })

  it('answers what is under way before it stops, and cuts what outlives the deadline', async () => {
    const entry = new Stored()
    let finish = () => {}
    entry.consume = () => new Promise((resolve) => (finish = () => resolve(ACCEPTED)))
    const { receiver, grpc, httpPort } = await start(BOTH, entry)
    const client = new RawGrpcClient(grpc)
    const agent = new Agent({ keepAlive: true })
    const pending = ask(httpPort, { body: tracesRequest('a'), agent })
    await expect.poll(() => entry.admitted).toBe(1)
    await new Promise((resolve) => setImmediate(resolve))
    const stopped = receiver.stop(AbortSignal.timeout(5000))
    finish()
    const answer = await pending
    expect([answer.status, answer.headers.connection]).toEqual([200, 'close'])
    await stopped
    const second = await start(BOTH, entry)
    const cut = new RawGrpcClient(second.grpc)
    const lost = cut.export(tracesRequest('b'))
    await expect.poll(() => entry.admitted).toBe(2)
    await second.receiver.stop(AbortSignal.timeout(20))
    expect((await lost).code).not.toBe(0)
    for (const each of [client, cut]) each.close()
    agent.destroy()
  })

  it('answers the gRPC calls that were on the wire when it stopped', async () => {
    for (let round = 0; round < 5; round++) {
      const { receiver, grpc } = await start({ grpc: { endpoint: '127.0.0.1:0' } })
      const client = new RawGrpcClient(grpc)
      const send = async (id: string) => {
        const { code, message } = await client.export(tracesRequest(id))
        if (code !== 0) throw new Error(message)
        return true
      }
      const loaders = [loader('a', send), loader('b', send), loader('c', send)]
      await expect.poll(() => everyoneHas(20, loaders), { interval: 1 }).toBe(true)
      await receiver.stop(AbortSignal.timeout(5000))
      await Promise.all(loaders.map((each) => each.stop()))
      client.close()
      const failures = loaders.flatMap((each) => each.failures)
      expect(failures.filter((failure) => !failure.includes('ECONNREFUSED'))).toEqual([])
    }
  })

  it('answers, and goes on, where an answer cannot be made or written while it stops', async () => {
    const entry = new Stored()
    const finishes: ((outcome: Outcome) => void)[] = []
    entry.consume = () => new Promise((resolve) => finishes.push(resolve))
    const { receiver, grpc } = await start({ grpc: { endpoint: '127.0.0.1:0' } }, entry)
    const session = connect2(`http://${grpc}`)
    cleanups.push(() => session.destroy())
    const goaway = once(session, 'goaway')
    const [first, second, third] = [1, 2, 3].map(() => exportOn(session, tracesRequest('x')))
    await expect.poll(() => finishes).toHaveLength(3)
    const stopped = receiver.stop(AbortSignal.timeout(5000))
    await goaway
    finishes[0]?.({} as Outcome)
    expect((await first)?.['grpc-status']).toBe('13')
    const respond = vi.spyOn(await serverStreams(), 'respond').mockImplementationOnce(() => {
      throw new Error('this stream takes no answer')
    })
    cleanups.push(() => respond.mockRestore())
    finishes[1]?.(ACCEPTED)
    expect((await second)?.['rst']).toBe(constants.NGHTTP2_INTERNAL_ERROR)
    finishes[2]?.(ACCEPTED)
    expect((await third)?.['grpc-status']).toBe('0')
    await stopped
  })

  it('hands its sockets over during a reload: no connection refused, every answer given', async () => {
    const pool = new ListenerPool()
    const first = await start(BOTH, new Stored(), pool)
    const fixed = { grpc: { endpoint: first.grpc }, http: { endpoint: first.http } }
    const { loaders, acknowledged, stop } = load(first.grpc, first.httpPort)
    await expect.poll(() => everyoneHas(10, loaders)).toBe(true)
    pool.beginReload()
    await first.receiver.stop(AbortSignal.timeout(5000))
    // Between two owners: a fresh connection waits, it is not refused.
    const waiting = ask(first.httpPort, { body: tracesRequest('waiting') })
    const second = await start(fixed, first.entry, pool)
    await pool.endReload()
    expect((await waiting).status).toBe(200)
    const before = acknowledged().length
    await expect.poll(() => acknowledged().length).toBeGreaterThan(before + 40)
    await stop()
    expect(loaders.flatMap((each) => each.failures)).toEqual([])
    expect(second.entry.names).toEqual(expect.arrayContaining(acknowledged()))
  })

  it('frees what it holds when one of its ports is taken', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    cleanups.push(() => void holder.close())
    const taken = `127.0.0.1:${(holder.address() as AddressInfo).port}`
    const { context, listeners } = receiverContext('otlp')
    const protocols = { grpc: { endpoint: '127.0.0.1:0' }, http: { endpoint: taken } }
    const receiver = otlpMaker.create(otlp.config.parse({ protocols }), context, new Stored())
    await expect(receiver.start?.()).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringContaining(taken),
    })
    await listeners.close()
  })

  it('refuses an open address without TLS or auth', async () => {
    const { context } = receiverContext('otlp')
    const protocols = { grpc: { endpoint: '0.0.0.0:0' } }
    const entry = new Stored()
    const refused = otlpMaker.create(otlp.config.parse({ protocols }), context, entry)
    await expect(refused.start?.()).rejects.toThrow('otlp: endpoint 0.0.0.0:0 is reachable')
    const allowed = { grpc: { ...protocols.grpc, insecure_bind: true } }
    await start(allowed)
    await start(protocols, Object.assign(new Stored(), { authenticated: true }))
  })
})

describe('config', () => {
  it('turns a protocol on only if its key is present; null means defaults', () => {
    const { protocols } = otlp.config.parse({ protocols: { grpc: null } })
    expect(protocols.grpc?.endpoint).toBe('127.0.0.1:4317')
    expect(protocols.http).toBeUndefined()
    expect(otlp.config.parse({ protocols: { http: {} } }).protocols.http).toMatchObject({
      endpoint: '127.0.0.1:4318',
      traces_url_path: '/v1/traces',
    })
    for (const bad of [
      {},
      { protocols: {} },
      { protocols: { grpc: { endpoit: 'x:1' } } },
      { protocols: { thrift: {} } },
    ]) {
      expect(otlp.config.safeParse(bad).success).toBe(false)
    }
  })
})

describe('cors', () => {
  const cors = {
    allowed_origins: ['https://*.example.com'],
    allowed_headers: ['X-Key'],
    exposed_headers: ['X-Id'],
    max_age: 60,
  }
  const preflight = (origin: string, headers = 'content-type, x-key, x-other') => ({
    method: 'OPTIONS',
    headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': headers },
  })

  it('answers a preflight of an allowed origin with what may be sent', async () => {
    const { httpPort } = await start({ http: { endpoint: '127.0.0.1:0', cors } })
    const { status, headers } = await ask(httpPort, preflight('https://app.example.com'))
    expect(status).toBe(204)
    expect(headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example.com',
      'access-control-allow-methods': 'POST',
      'access-control-allow-headers': 'content-type, x-key',
      'access-control-max-age': '60',
      vary: 'Origin',
    })
    for (const origin of [
      'https://example.com.evil.net',
      'https://appXexample.com',
      'http://app.example.com',
    ]) {
      expect((await ask(httpPort, preflight(origin))).headers).not.toHaveProperty(
        'access-control-allow-origin',
      )
    }
  })

  it('marks the answer to an allowed origin, errors too', async () => {
    const { httpPort } = await start({ http: { endpoint: '127.0.0.1:0', cors } })
    const headers = { origin: 'https://app.example.com', 'content-type': 'text/plain' }
    const answer = await ask(httpPort, { headers, body: tracesRequest('a') })
    expect(answer.status).toBe(415)
    expect(answer.headers).toMatchObject({
      'access-control-allow-origin': 'https://app.example.com',
      'access-control-expose-headers': 'X-Id',
    })
  })

  it('is off without the block', async () => {
    const { httpPort } = await start(BOTH)
    const answer = await ask(httpPort, preflight('https://app.example.com'))
    expect(answer.status).toBe(405)
    expect(answer.headers).not.toHaveProperty('access-control-allow-origin')
  })
})

describe('keepalive.enforcement_policy', () => {
  const enforcing = (policy: unknown) => ({
    grpc: { endpoint: '127.0.0.1:0', keepalive: { enforcement_policy: policy } },
  })

  /** One request, then pings; the GOAWAY code, or `alive`. */
  async function pinged(address: string): Promise<number | 'alive'> {
    const session = connect2(`http://${address}`)
    session.on('error', () => {})
    const goaway = new Promise<number>((resolve) => session.once('goaway', resolve))
    const stream = session.request({
      ':method': 'POST',
      ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      'content-type': 'application/grpc',
    })
    stream.resume().on('error', () => {})
    stream.end(Buffer.alloc(5))
    await once(stream, 'close')
    for (let n = 0; n < 5 && !session.destroyed; n++) {
      await new Promise((resolve) => {
        session.once('close', resolve)
        session.ping(resolve)
      })
    }
    const verdict = session.destroyed || session.closed ? await goaway : 'alive'
    session.destroy()
    return verdict
  }

  it('sends a sender away that pings too often, and only then', async () => {
    const strict = await start(enforcing({ min_time: '1h', permit_without_stream: true }))
    expect(await pinged(strict.grpc)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    const idle = await start(enforcing({ min_time: '0' }))
    expect(await pinged(idle.grpc)).toBe(constants.NGHTTP2_ENHANCE_YOUR_CALM)
    const lenient = await start(enforcing({ min_time: '0', permit_without_stream: true }))
    expect(await pinged(lenient.grpc)).toBe('alive')
    const none = await start({ grpc: { endpoint: '127.0.0.1:0' } })
    expect(await pinged(none.grpc)).toBe('alive')
  })
})

const hasOpenssl = spawnSync('openssl', ['version']).status === 0

describe.skipIf(!hasOpenssl)('TLS and mTLS (needs the openssl command)', () => {
  let folder = ''
  const at = (name: string) => join(folder, name)
  const read = (name: string) => readFileSync(at(name))

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'weir-otlp-'))
    const key = (name: string) => [
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-keyout',
      at(name),
    ]
    const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })
    openssl('req', '-x509', ...key('ca.key'), '-out', at('ca.pem'), '-subj', '/CN=ca', '-days', '2')
    for (const [name, names] of [
      ['server', 'IP:127.0.0.1'],
      ['client', 'URI:spiffe://acme/agent'],
    ] as const) {
      openssl('req', ...key(`${name}.key`), '-out', at(`${name}.csr`), '-subj', `/CN=${name}`)
      writeFileSync(at(`${name}.ext`), `subjectAltName=${names}\n`)
      const signing = [
        '-CA',
        at('ca.pem'),
        '-CAkey',
        at('ca.key'),
        '-CAcreateserial',
        '-extfile',
        at(`${name}.ext`),
      ]
      openssl('x509', '-req', '-in', at(`${name}.csr`), ...signing, '-days', '2', '-out', at(`${name}.pem`))
    }
  })
  afterAll(() => rmSync(folder, { recursive: true, force: true }))

  const tls = () => ({ cert_file: at('server.pem'), key_file: at('server.key') })
  const secured = (block: unknown) => ({
    grpc: { endpoint: '127.0.0.1:0', tls: block },
    http: { endpoint: '127.0.0.1:0', tls: block },
  })

  async function post(port: number, options: object = {}): Promise<number> {
    const sent = requestTls({
      port,
      host: '127.0.0.1',
      path: '/v1/traces',
      method: 'POST',
      ca: read('ca.pem'),
      headers: { 'content-type': 'application/x-protobuf' },
      agent: false,
      ...options,
    })
    sent.end(tracesRequest('over https'))
    const [response] = (await once(sent, 'response')) as [IncomingMessage]
    response.resume()
    return response.statusCode ?? 0
  }

  it('takes gRPC, HTTP/1.1 and HTTP/2 over TLS', async () => {
    const { grpc, httpPort, entry } = await start(secured(tls()))
    const client = new RawGrpcClient(grpc, credentials.createSsl(read('ca.pem')))
    expect((await client.export(tracesRequest('over grpcs'))).code).toBe(0)
    expect(await post(httpPort)).toBe(200)
    const session = connect2(`https://127.0.0.1:${httpPort}`, { ca: read('ca.pem') })
    for (const [path, status] of [
      ['/v1/traces', 200],
      ['/v1/logs', 404],
    ] as const) {
      const headers = {
        ':method': 'POST',
        ':path': path,
        'content-type': 'application/x-protobuf',
        'x-key': 'v',
      }
      const stream = session.request(headers)
      stream.end(tracesRequest('over h2'))
      const [answer] = (await once(stream, 'response')) as [Record<string, unknown>]
      expect(answer[':status']).toBe(status)
      stream.resume()
      await once(stream, 'close')
    }
    session.close()
    client.close()
    expect(entry.names).toEqual(['over grpcs', 'over https', 'over h2'])
    expect(entry.heads.map((head) => head.tls)).toEqual([true, true, true])
    expect(entry.heads[2]?.header('x-key')).toEqual(['v'])
    expect(entry.heads.map((head) => head.clientCertificate)).toEqual([undefined, undefined, undefined])
  })

  it('demands client certificates, and hands their facts to admission', async () => {
    const { grpc, httpPort, entry } = await start(secured({ ...tls(), client_ca_file: at('ca.pem') }))
    const mutual = credentials.createSsl(read('ca.pem'), read('client.key'), read('client.pem'))
    const client = new RawGrpcClient(grpc, mutual)
    expect((await client.export(tracesRequest('a'))).code).toBe(0)
    expect(await post(httpPort, { cert: read('client.pem'), key: read('client.key') })).toBe(200)
    const stranger = new RawGrpcClient(grpc, credentials.createSsl(read('ca.pem')))
    expect((await stranger.export(tracesRequest('b'), { deadlineMs: 5000 })).code).not.toBe(0)
    await expect(post(httpPort)).rejects.toThrow()
    for (const each of [client, stranger]) each.close()
    expect(entry.heads.map((head) => head.clientCertificate?.subjectAltNames)).toEqual([
      ['URI:spiffe://acme/agent'],
      ['URI:spiffe://acme/agent'],
    ])
    expect(entry.heads[0]?.clientCertificate?.raw.length).toBeGreaterThan(100)
  })
})
