import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { connect } from 'node:net'
import { deflateSync, gzipSync } from 'node:zlib'
import * as zlib from 'node:zlib'
import { afterEach, describe, expect, it } from 'vitest'
import pino from 'pino'
import type { Admitted, Head } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { ACCEPTED, type Outcome } from '../../pipeline/consumer.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import {
  ask,
  JSON_TYPE,
  PROTOBUF,
  RawGrpcClient,
  readStatus,
  readTraceResponse,
  tracesJson,
  tracesRequest,
  type HttpAnswer,
} from '../../test/contract/otlp-clients.ts'
import { receiverContext, TestEntry } from '../../test/contract/receiver.ts'
import { otlp } from './factory.ts'
import type { OtlpReceiver } from './otlp.ts'

const otlpMaker = await otlp.load()

/** The rules of the OTLP specification 1.11 as numbered in notes/collector.md section 2, and the receiver's own. */

const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

interface Options {
  readonly consume?: (batch: Batch) => Promise<Outcome>
  readonly admit?: (head: Head) => Promise<Admitted>
  readonly http?: Record<string, unknown>
  readonly grpc?: Record<string, unknown>
  readonly intakeBytes?: number
}

async function start(options: Options = {}) {
  const logs: { msg: string; path?: string; sender?: string }[] = []
  const log = pino({ level: 'warn' }, { write: (line: string) => void logs.push(JSON.parse(line)) })
  const { context, listeners, intake } = receiverContext('otlp', {
    log,
    ...(options.intakeBytes !== undefined && { intakeBytes: options.intakeBytes }),
  })
  const batches: Batch[] = []
  const entry = new TestEntry(async (batch) => {
    batches.push(batch)
    return options.consume ? options.consume(batch) : ACCEPTED
  })
  if (options.admit) entry.admit = options.admit as typeof entry.admit
  const protocols = {
    grpc: { endpoint: '127.0.0.1:0', ...options.grpc },
    http: { endpoint: '127.0.0.1:0', ...options.http },
  }
  const receiver = otlpMaker.create(otlp.config.parse({ protocols }), context, entry) as OtlpReceiver
  await receiver.start()
  const grpcAddress = receiver.addresses.get('grpc') ?? ''
  const http = Number(receiver.addresses.get('http')?.split(':')[1])
  const grpc = new RawGrpcClient(grpcAddress)
  const grpcGzip = RawGrpcClient.gzip(grpcAddress)
  cleanups.push(async () => {
    grpc.close()
    grpcGzip.close()
    await receiver.stop(AbortSignal.timeout(2000))
    await listeners.close()
  })
  return { receiver, entry, batches, logs, intake, grpc, grpcGzip, grpcAddress, http }
}

const fails = (error: Error) => ({
  consume: async () => {
    throw error
  },
})
const statusOf = (answer: HttpAnswer) =>
  answer.headers['content-type'] === 'application/json'
    ? (JSON.parse(String(answer.body)) as { code: number; message: string })
    : readStatus(answer.body)

/** Bytes as they are on a fresh connection; the answer until the server closes. */
async function raw(port: number, ...parts: (string | Uint8Array)[]): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  for (const part of parts) socket.write(part)
  let text = ''
  socket.on('data', (chunk) => (text += chunk.toString('latin1')))
  await once(socket, 'close')
  return text
}

const post = (length: number, ...headers: string[]) =>
  [
    'POST /v1/traces HTTP/1.1',
    'Host: x',
    'Content-Type: application/x-protobuf',
    `Content-Length: ${length}`,
    ...headers,
  ]
    .join('\r\n')
    .concat('\r\n\r\n')

const GZIP = { ...PROTOBUF, 'content-encoding': 'gzip' }
const body = tracesRequest('chat')

describe('rule 1: compression', () => {
  it('takes no compression and gzip over HTTP, protobuf and JSON', async () => {
    const { http, batches } = await start()
    expect((await ask(http, { body })).status).toBe(200)
    expect((await ask(http, { headers: GZIP, body: gzipSync(body) })).status).toBe(200)
    const json = { ...JSON_TYPE, 'content-encoding': 'gzip' }
    expect((await ask(http, { headers: json, body: gzipSync(tracesJson('chat')) })).status).toBe(200)
    expect(batches.map((batch) => batch.name(0))).toEqual(['chat', 'chat', 'chat'])
  })

  it('takes no compression and gzip over gRPC', async () => {
    const { grpc, grpcGzip, batches } = await start()
    expect(await grpc.export(body)).toMatchObject({ code: 0, response: {} })
    expect(
      await grpcGzip.export(tracesRequest(...Array.from({ length: 500 }, (_, n) => `s${n}`))),
    ).toMatchObject({
      code: 0,
    })
    expect(batches.map((batch) => batch.rows)).toEqual([1, 500])
  })

  it('takes deflate, and large gzip bodies inflated in the background', async () => {
    const { http, batches } = await start()
    const large = tracesRequest(...Array.from({ length: 5000 }, (_, n) => `${n}`.repeat(50)))
    const deflate = { ...PROTOBUF, 'content-encoding': 'deflate' }
    expect((await ask(http, { headers: deflate, body: deflateSync(large) })).status).toBe(200)
    expect(
      (await ask(http, { headers: { ...GZIP, 'content-encoding': 'X-GZIP' }, body: gzipSync(large) })).status,
    ).toBe(200)
    expect(batches.map((batch) => batch.rows)).toEqual([5000, 5000])
  })

  it('takes zstd where node:zlib has it and answers 415 elsewhere', async () => {
    const { http, batches } = await start()
    const compress = (zlib as { zstdCompressSync?: (bytes: Uint8Array) => Buffer }).zstdCompressSync
    const headers = { ...PROTOBUF, 'content-encoding': 'zstd' }
    const answer = await ask(http, {
      headers,
      body: compress ? compress(body) : Buffer.from('28b52ffd', 'hex'),
    })
    if (compress) {
      expect(answer.status).toBe(200)
      expect(batches).toHaveLength(1)
      const truncated = await ask(http, { headers, body: compress(body).subarray(0, -4) })
      expect(truncated.status).toBe(400)
    } else {
      expect(answer.status).toBe(415)
      expect(statusOf(answer).message).toContain('gzip')
    }
  })

  it.each(['br', 'gzip, gzip', 'gzip,deflate', 'nonsense'])(
    'answers 400 with a Status to Content-Encoding %s',
    async (name) => {
      const { http, batches } = await start()
      const answer = await ask(http, {
        headers: { ...PROTOBUF, 'content-encoding': name },
        body: gzipSync(body),
      })
      expect(answer.status).toBe(400)
      expect(answer.headers['accept-encoding']).toContain('gzip')
      expect(statusOf(answer)).toMatchObject({
        code: 3,
        message: expect.stringContaining('Content-Encoding'),
      })
      expect(batches).toEqual([])
    },
  )

  it('answers 400 to truncated and to corrupt gzip, small and large', async () => {
    const { http } = await start()
    const large = gzipSync(Buffer.from(Array.from({ length: 50_000 }, (_, n) => (n * n) % 251)))
    const corrupt = Buffer.from(gzipSync(body))
    corrupt[12] = (corrupt[12] ?? 0) ^ 0xff
    for (const bad of [
      gzipSync(body).subarray(0, -5),
      large.subarray(0, -9),
      corrupt,
      Buffer.from('not gzip'),
    ]) {
      const answer = await ask(http, { headers: GZIP, body: bad })
      expect(answer.status).toBe(400)
      expect(statusOf(answer)).toMatchObject({ code: 3, message: expect.stringContaining('not valid gzip') })
    }
  })

  it('answers INVALID_ARGUMENT to corrupt gzip and UNIMPLEMENTED to an unknown grpc-encoding', async () => {
    const { grpcAddress } = await start()
    expect(await exportFrame(grpcAddress, 'gzip', Buffer.from('not gzip'))).toMatchObject({
      'grpc-status': '3',
    })
    expect(await exportFrame(grpcAddress, 'snappy', body)).toMatchObject({ 'grpc-status': '12' })
    expect(await exportFrame(grpcAddress, 'gzip', gzipSync(body))).toMatchObject({ 'grpc-status': '0' })
  })
})

/** One compressed gRPC message by node:http2, so that grpc-js does not compress it for us. */
async function exportFrame(
  address: string,
  encoding: string,
  message: Uint8Array,
  declared = message.length,
) {
  const { connect: connect2 } = await import('node:http2')
  const session = connect2(`http://${address}`)
  session.on('error', () => {})
  const stream = session.request({
    ':method': 'POST',
    ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
    'content-type': 'application/grpc',
    'grpc-encoding': encoding,
    te: 'trailers',
  })
  const prefix = Buffer.alloc(5)
  prefix.writeUInt8(1)
  prefix.writeUInt32BE(declared, 1)
  stream.on('error', () => {})
  const seen: Record<string, unknown> = {}
  stream.on('response', (headers) => Object.assign(seen, headers))
  stream.on('trailers', (trailers) => Object.assign(seen, trailers))
  stream.resume()
  // The prefix in two pieces: its five bytes may arrive in any.
  stream.write(prefix.subarray(0, 3))
  stream.write(prefix.subarray(3))
  stream.end(message)
  await once(stream, 'close')
  session.close()
  return Object.fromEntries(Object.entries(seen).map(([name, value]) => [name, String(value)]))
}

const MIB = 1024 * 1024
const bomb = gzipSync(Buffer.alloc(80 * MIB), { level: 9 })

describe('rule 2: size limits, after decompression', () => {
  it('has 64 MiB as the default for both', () => {
    const { protocols } = otlp.config.parse({ protocols: { grpc: null, http: null } })
    expect(protocols.grpc?.max_recv_msg_size_mib).toBe(64)
    expect(protocols.http?.max_request_body_size).toBe(64 * MIB)
  })

  it('answers 413 with a Status to a body over the limit, with and without Content-Length', async () => {
    const { http, batches, intake } = await start({ http: { max_request_body_size: 1000 } })
    const large = Buffer.alloc(1001, 1)
    const declared = await ask(http, { body: large })
    expect(declared.status).toBe(413)
    expect(statusOf(declared)).toMatchObject({ code: 8, message: expect.stringContaining('1000 bytes') })
    const chunked = await raw(
      http,
      'POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
      `3e9\r\n${'x'.repeat(1001)}\r\n0\r\n\r\n`,
    )
    expect(chunked).toMatch(/^HTTP\/1.1 413 /)
    expect(chunked).toContain('application/json')
    expect(batches).toEqual([])
    expect(intake.held).toBe(0)
  })

  it('refuses a declared length over the limit before the body is sent', async () => {
    const { http } = await start()
    const answer = await raw(http, post(65 * MIB))
    expect(answer).toMatch(/^HTTP\/1.1 413 /)
    expect(answer).toMatch(/connection: close/i)
  })

  it('takes a body of exactly the limit', async () => {
    const { http } = await start({ http: { max_request_body_size: body.length } })
    expect((await ask(http, { body })).status).toBe(200)
    expect((await ask(http, { headers: GZIP, body: gzipSync(body, { level: 0 }) })).status).toBe(413)
  })

  it('answers 413 to a bomb, and inflates no more of it than the limit', async () => {
    const { http, intake } = await start({ http: { max_request_body_size: 2 * MIB } })
    let most = 0
    const take = intake.take.bind(intake)
    intake.take = (bytes) => {
      take(bytes)
      most = Math.max(most, intake.held)
    }
    const answer = await ask(http, { headers: GZIP, body: bomb })
    expect(answer.status).toBe(413)
    expect(statusOf(answer).message).toContain('after decompression')
    expect(most).toBeLessThanOrEqual(bomb.length + 2 * MIB)
    const small = gzipSync(Buffer.alloc(3 * MIB))
    expect(small.length).toBeLessThan(4096)
    expect((await ask(http, { headers: GZIP, body: small })).status).toBe(413)
    expect(intake.held).toBe(0)
  })

  it('answers RESOURCE_EXHAUSTED without RetryInfo over gRPC, plain and compressed', async () => {
    const { grpc, grpcAddress, batches, intake } = await start({ grpc: { max_recv_msg_size_mib: 1 } })
    const plain = await grpc.export(Buffer.alloc(MIB + 1, 1))
    expect(plain).toMatchObject({ code: 8, details: undefined })
    const inflated = await exportFrame(grpcAddress, 'gzip', gzipSync(Buffer.alloc(MIB + 1)))
    expect(inflated).toMatchObject({ 'grpc-status': '8' })
    expect(inflated).not.toHaveProperty('grpc-status-details-bin')
    expect(batches).toEqual([])
    expect(intake.held).toBe(0)
  })

  it('answers a gRPC message that declares too much before it is sent', async () => {
    const { grpcAddress } = await start()
    expect(await exportFrame(grpcAddress, 'identity', Buffer.alloc(10), 0xffffffff)).toMatchObject({
      'grpc-status': '8',
    })
  })

  it('caps error_message', async () => {
    const rejected = [{ rows: [0], reason: 'x'.repeat(100_000) }]
    const { http } = await start({ consume: async () => ({ rejected }) })
    expect((await ask(http, { body })).body.length).toBeLessThan(20_000)
  })
})

describe('rule 3: gRPC failures', () => {
  it.each([
    ['overload', retry('OVERLOADED', 'later', 2500), 14, 2500],
    ['a WAL that is away', retry('WAL_UNAVAILABLE', 'later'), 14, 1000],
    ['a full WAL', retry('WAL_FULL', 'full', 5000), 8, 5000],
    ['a rate limit', retry('RATE_LIMITED', 'slow down', 30), 8, 30],
  ])('%s is retryable and carries RetryInfo', async (_, fault, code, retryDelayMs) => {
    const { grpc } = await start(fails(fault))
    expect(await grpc.export(body)).toMatchObject({
      code,
      details: { code, message: fault.message, retryDelayMs },
    })
  })

  it.each([
    ['bad data', reject('BATCH_MALFORMED', 'bad'), 3],
    ['an unknown sender', reject('UNAUTHENTICATED', 'who?'), 16],
    ['a sender that may not', reject('PERMISSION_DENIED', 'no'), 7],
    ['a span too large', reject('SPAN_TOO_LARGE', 'big'), 8],
    ['a bug', new Error('secret text'), 13],
  ])('%s is final and carries no RetryInfo', async (_, fault, code) => {
    const { grpc } = await start(fails(fault))
    const answer = await grpc.export(body)
    expect(answer).toMatchObject({ code, details: undefined })
    expect(answer.message).not.toContain('secret')
  })

  it('answers INVALID_ARGUMENT to bytes that are not OTLP', async () => {
    const { grpc, batches } = await start()
    expect((await grpc.export(Buffer.from([0x0a, 0xff, 0xff]))).code).toBe(3)
    expect(batches).toEqual([])
  })
})

describe('rule 4: HTTP failures', () => {
  it.each([
    [retry('OVERLOADED', 'later', 2500), 503, '3', 14],
    [retry('RATE_LIMITED', 'slow down', 1000), 429, '1', 8],
    [retry('WAL_FULL', 'full', 10_000), 429, '10', 8],
  ])('%s is retryable and carries Retry-After', async (fault, status, seconds, code) => {
    const { http } = await start(fails(fault))
    const answer = await ask(http, { body })
    expect(answer.status).toBe(status)
    expect(answer.headers['retry-after']).toBe(seconds)
    expect(statusOf(answer)).toEqual({ code, message: fault.message })
  })

  it.each([
    [reject('BATCH_MALFORMED', 'bad'), 400],
    [reject('UNAUTHENTICATED', 'who?'), 401],
    [reject('PERMISSION_DENIED', 'no'), 403],
    [reject('SPAN_TOO_LARGE', 'big'), 413],
    [new Error('secret text'), 500],
  ])('%s is final and carries no Retry-After', async (fault, status) => {
    const { http } = await start(fails(fault))
    const answer = await ask(http, { body })
    expect(answer.status).toBe(status)
    expect(answer.headers).not.toHaveProperty('retry-after')
    expect(String(answer.body)).not.toContain('secret')
  })

  it('answers 400 to bytes that are not OTLP', async () => {
    const { http } = await start()
    expect((await ask(http, { body: Buffer.from([0x0a, 0xff, 0xff]) })).status).toBe(400)
    expect((await ask(http, { headers: JSON_TYPE, body: Buffer.from('{"resourceSpans":') })).status).toBe(400)
    expect((await ask(http, { headers: JSON_TYPE, body: Buffer.from('null') })).status).toBe(400)
    expect((await ask(http, { headers: JSON_TYPE, body: Buffer.alloc(0) })).status).toBe(400)
  })
})

describe('rule 5: full success', () => {
  it('leaves partial_success unset', async () => {
    const { http, grpc } = await start()
    const protobuf = await ask(http, { body })
    expect(protobuf.status).toBe(200)
    expect(protobuf.body).toHaveLength(0)
    const json = await ask(http, { headers: JSON_TYPE, body: tracesJson('chat') })
    expect(JSON.parse(String(json.body))).toEqual({})
    expect(await grpc.export(body)).toMatchObject({ code: 0, response: {} })
  })

  it('answers an empty request with success and does not call the pipeline', async () => {
    const { http, grpc, batches, entry } = await start()
    expect((await grpc.export(Buffer.alloc(0))).code).toBe(0)
    expect((await ask(http, { body: Buffer.alloc(0) })).status).toBe(200)
    expect((await ask(http, { headers: JSON_TYPE, body: Buffer.from('{}') })).status).toBe(200)
    expect((await ask(http, { headers: JSON_TYPE, body: Buffer.from('{"resourceSpans":[]}') })).status).toBe(
      200,
    )
    expect((await ask(http, { headers: GZIP, body: gzipSync('') })).status).toBe(200)
    expect(batches).toEqual([])
    expect([entry.admitted, entry.released]).toEqual([5, 5])
  })
})

describe('rule 6: partial success', () => {
  const rejected = [
    { rows: [0, 2], reason: 'validators: no model' },
    { rows: [1], reason: 'validators: no model' },
  ]
  const want = { rejectedSpans: 3, errorMessage: 'validators: no model (3 spans)' }

  it('tells how many and why, with 200 and OK', async () => {
    const { http, grpc } = await start({ consume: async () => ({ rejected }) })
    const protobuf = await ask(http, { body })
    expect(protobuf.status).toBe(200)
    expect(readTraceResponse(protobuf.body)).toEqual({ partialSuccess: want })
    const json = await ask(http, { headers: JSON_TYPE, body: tracesJson('chat') })
    expect(JSON.parse(String(json.body))).toEqual({ partialSuccess: { ...want, rejectedSpans: '3' } })
    expect(await grpc.export(body)).toMatchObject({ code: 0, response: { partialSuccess: want } })
  })
})

describe('rule 7: every error body is a Status in the type of the request', () => {
  it.each([
    ['an unknown route', { path: '/nope' }, 404, 5],
    ['a wrong method', { method: 'PUT' }, 405, 12],
    ['the pipeline', {}, 503, 14],
  ])('%s', async (_, options, status, code) => {
    const { http } = await start(fails(retry('OVERLOADED', 'later')))
    for (const [headers, type] of [
      [PROTOBUF, 'application/x-protobuf'],
      [JSON_TYPE, 'application/json'],
    ] as const) {
      const answer = await ask(http, {
        ...options,
        headers,
        body: headers === JSON_TYPE ? tracesJson('a') : body,
      })
      expect(answer.status).toBe(status)
      expect(answer.headers['content-type']).toBe(type)
      expect(statusOf(answer)).toMatchObject({ code, message: expect.stringMatching(/./) })
    }
  })

  it('answers a success in the type of the request', async () => {
    const { http } = await start()
    expect((await ask(http, { body })).headers['content-type']).toBe('application/x-protobuf')
    const json = await ask(http, { headers: JSON_TYPE, body: tracesJson('a') })
    expect(json.headers['content-type']).toBe('application/json')
  })

  it('says 405 with Allow to other methods', async () => {
    const { http } = await start()
    for (const method of ['GET', 'PUT', 'DELETE', 'OPTIONS', 'PATCH']) {
      const answer = await ask(http, { method })
      expect([method, answer.status, answer.headers.allow]).toEqual([method, 405, 'POST'])
    }
  })

  it.each(['text/plain', 'application/protobuf2', '', 'application/json2'])(
    'says 415 to type "%s"',
    async (type) => {
      const { http } = await start()
      const answer = await ask(http, { headers: type === '' ? {} : { 'content-type': type }, body })
      expect(answer.status).toBe(415)
      expect(statusOf(answer)).toMatchObject({
        code: 3,
        message: expect.stringContaining('application/json'),
      })
    },
  )
})

describe('rule 8: paths', () => {
  it('serves traces_url_path, with a query too, and nothing else', async () => {
    const { http } = await start({ http: { traces_url_path: '/otlp/traces' } })
    expect((await ask(http, { path: '/otlp/traces?x=1', body })).status).toBe(200)
    expect((await ask(http, { path: '/v1/traces', body })).status).toBe(404)
    expect((await ask(http, { path: '/otlp/traces/', body })).status).toBe(404)
  })

  it('says 404 and UNIMPLEMENTED to logs and metrics, and logs it once per sender', async () => {
    const { http, grpc, logs } = await start()
    for (let round = 0; round < 2; round++) {
      for (const signal of ['logs', 'metrics']) {
        const answer = await ask(http, { path: `/v1/${signal}`, body })
        expect(answer.status).toBe(404)
        expect(statusOf(answer)).toMatchObject({ code: 5, message: expect.stringContaining('traces only') })
        const name = signal === 'logs' ? 'logs.v1.LogsService' : 'metrics.v1.MetricsService'
        const path = `/opentelemetry.proto.collector.${name}/Export`
        expect(await grpc.export(body, { path })).toMatchObject({ code: 12, details: undefined })
      }
    }
    expect(logs.map(({ path }) => path)).toHaveLength(4)
    expect(new Set(logs.map(({ path }) => path)).size).toBe(4)
    expect(logs[0]?.sender).toBe('127.0.0.1')
  })

  it('says UNIMPLEMENTED to a method that nobody has', async () => {
    const { grpc } = await start()
    expect((await grpc.export(body, { path: '/some.Service/Method' })).code).toBe(12)
  })
})

describe('rule 9: JSON', () => {
  it.each([
    'application/json',
    'application/json; charset=utf-8',
    'APPLICATION/JSON',
    'application/json;charset=UTF-8',
  ])('takes Content-Type %s', async (type) => {
    const { http, batches } = await start()
    const answer = await ask(http, { headers: { 'content-type': type }, body: tracesJson('chat') })
    expect(answer.status).toBe(200)
    expect(answer.headers['content-type']).toBe('application/json')
    expect(batches[0]?.name(0)).toBe('chat')
  })

  it('reads hex ids, numbers as text or number, and ignores unknown fields', async () => {
    const { http, batches } = await start()
    const json = JSON.parse(String(tracesJson('chat')))
    json.resourceSpans[0].scopeSpans[0].spans[0].traceId = '5B8EFFF798038103D269B633813FC60C'
    json.resourceSpans[0].unknown_field = { a: [1, null] }
    const answer = await ask(http, { headers: JSON_TYPE, body: Buffer.from(JSON.stringify(json)) })
    expect(answer.status).toBe(200)
    expect(Buffer.from(batches[0]?.traceId(0) ?? []).toString('hex')).toBe('5b8efff798038103d269b633813fc60c')
    expect(batches[0]?.startNs(0)).toBe(1_700_000_000_000_000_000n)
  })
})

describe('rule 10: delivery, as a digest by which repeats are known', () => {
  const sha = (...parts: (string | Uint8Array)[]) => {
    const hash = createHash('sha256')
    for (const part of parts) hash.update(part)
    return hash.digest().subarray(0, 16)
  }

  it('is of the bytes as received, or of tenant and Idempotency-Key', async () => {
    const { http, grpc, grpcGzip, batches } = await start()
    const zipped = gzipSync(body)
    await ask(http, { body })
    await ask(http, { headers: GZIP, body: zipped })
    await ask(http, { headers: { ...PROTOBUF, 'idempotency-key': 'k1' }, body })
    await grpc.export(body)
    await grpcGzip.export(body)
    await grpc.export(body, { headers: { 'idempotency-key': 'k1' } })
    const digests = batches.map(({ meta }) => Buffer.from(meta.digest))
    const keyed = sha('default\0k1')
    expect([digests[0], digests[3]]).toEqual([sha(body), sha(body)])
    expect(digests[1]).toEqual(sha(zipped))
    expect([digests[2], digests[5]]).toEqual([keyed, keyed])
    expect(digests[4]).not.toEqual(digests[3])
    expect(batches.map(({ meta }) => meta.source)).toEqual([
      'otlp/http',
      'otlp/http',
      'otlp/http',
      'otlp/grpc',
      'otlp/grpc',
      'otlp/grpc',
    ])
  })
})

describe('admission', () => {
  const refuse = { admit: () => Promise.reject(reject('UNAUTHENTICATED', 'no key')) }

  it('refuses by the head, before a byte of the body was sent', async () => {
    const { http, grpc, batches } = await start(refuse)
    expect(await raw(http, post(5 * MIB))).toMatch(/^HTTP\/1.1 401 /)
    expect((await grpc.export(body)).code).toBe(16)
    expect(batches).toEqual([])
  })

  it('answers Expect: 100-continue with the refusal instead of 100', async () => {
    const { http } = await start(refuse)
    expect(await raw(http, post(100, 'Expect: 100-continue'))).toMatch(/^HTTP\/1.1 401 /)
    const accepting = await start()
    const answer = await raw(
      accepting.http,
      post(body.length, 'Expect: 100-continue', 'Connection: close'),
      body,
    )
    expect(answer).toMatch(/^HTTP\/1.1 100 Continue\r\n\r\nHTTP\/1.1 200 /)
  })

  it('sees peer, path, headers and declared length', async () => {
    const heads: Head[] = []
    const { http, grpc } = await start({
      admit: (head) => {
        heads.push(head)
        throw reject('PERMISSION_DENIED', 'no')
      },
    })
    await ask(http, { path: '/v1/traces?a=b', headers: { ...PROTOBUF, 'X-Key': 'v' }, body })
    await grpc.export(body, { headers: { 'x-key': 'v' } })
    expect(heads).toMatchObject([
      { transport: 'http', method: 'POST', path: '/v1/traces?a=b', tls: false, declaredBytes: body.length },
      { transport: 'grpc', path: expect.stringMatching(/TraceService\/Export$/), tls: false },
    ])
    for (const head of heads) {
      expect(head.peer).toMatch(/^127\.0\.0\.1:\d+$/)
      expect(head.header('x-key')).toEqual(['v'])
      expect(head.header('absent')).toEqual([])
    }
  })

  it('verifies the digest of the raw body before it is inflated, and releases whatever the end', async () => {
    const seen: Buffer[] = []
    let released = 0
    const { http, grpcAddress } = await start({
      admit: async () => ({
        tenant: 'acme',
        project: '',
        principal: '',
        wantsDigest: true,
        verify: async (sha256) => {
          seen.push(Buffer.from(sha256))
          throw reject('UNAUTHENTICATED', 'wrong signature')
        },
        release: () => void released++,
      }),
    })
    const notGzip = Buffer.from('not gzip')
    expect((await ask(http, { headers: GZIP, body: notGzip })).status).toBe(401)
    expect(await exportFrame(grpcAddress, 'gzip', notGzip)).toMatchObject({ 'grpc-status': '16' })
    const want = createHash('sha256').update(notGzip).digest()
    expect(seen).toEqual([want, want])
    expect(released).toBe(2)
  })
})

describe('bytes in flight', () => {
  it('answers 503 with Retry-After and UNAVAILABLE with RetryInfo when they are too many', async () => {
    const { http, grpc, intake } = await start({ intakeBytes: 1000 })
    intake.take(1000)
    const answer = await ask(http, { body })
    expect([answer.status, answer.headers['retry-after']]).toEqual([503, '1'])
    expect(await grpc.export(body)).toMatchObject({ code: 14, details: { retryDelayMs: 1000 } })
    const chunked = await raw(
      http,
      'POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n',
      '3\r\nabc\r\n0\r\n\r\n',
    )
    expect(chunked).toMatch(/^HTTP\/1.1 503 /)
    intake.give(1000)
    expect((await ask(http, { body })).status).toBe(200)
    expect((await grpc.export(body)).code).toBe(0)
  })

  it('takes a compressed request that is larger than all of them when it is alone', async () => {
    const { http, grpcGzip, intake } = await start({ intakeBytes: 10 })
    expect((await ask(http, { headers: GZIP, body: gzipSync(body) })).status).toBe(200)
    expect((await grpcGzip.export(body)).code).toBe(0)
    expect(intake.held).toBe(0)
  })

  it('counts what a compressed body inflates to', async () => {
    const { http, grpcAddress, intake } = await start({ intakeBytes: 300_000 })
    intake.take(1)
    const zipped = gzipSync(Buffer.alloc(400_000))
    expect((await ask(http, { headers: GZIP, body: zipped })).status).toBe(503)
    expect(await exportFrame(grpcAddress, 'gzip', zipped)).toMatchObject({ 'grpc-status': '14' })
    expect(intake.held).toBe(1)
  })
})

describe('slow, broken and hostile senders', () => {
  it('answers 408 with a Status to a body that does not arrive', async () => {
    const { http, intake } = await start({ http: { read_timeout: '50ms' } })
    const answer = await raw(http, post(100), 'abc')
    expect(answer).toMatch(/^HTTP\/1.1 408 /)
    expect(answer).toContain('application/x-protobuf')
    expect(intake.held).toBe(0)
  })

  it('answers 408 to headers that do not arrive', async () => {
    const { http } = await start({ http: { read_header_timeout: '40ms' } })
    expect(await raw(http, 'POST /v1/traces HTTP/1.1\r\n')).toMatch(/^HTTP\/1.1 408 [^]*"code":3/)
  })

  it('answers 431 to too many and to too large headers, 400 to what is not HTTP', async () => {
    const { http } = await start()
    const many = Array.from({ length: 65 }, (_, n) => `X-${n}: y`)
    expect(await raw(http, post(0, 'Connection: close', ...many))).toMatch(/^HTTP\/1.1 431 /)
    expect(await raw(http, post(0, `X: ${'y'.repeat(20_000)}`))).toMatch(/^HTTP\/1.1 431 [^]*"code":3/)
    expect(await raw(http, 'EHLO collector\r\n\r\n')).toMatch(/^HTTP\/1.1 400 [^]*"code":3/)
  })

  it('gives everything back when the sender goes away in the middle of its body', async () => {
    const { http, grpcAddress, entry, intake } = await start()
    const socket = connect(http, '127.0.0.1')
    socket.write(post(1000))
    socket.write('some')
    await expect.poll(() => intake.held).toBe(1000)
    socket.destroy()
    await expect.poll(() => intake.held).toBe(0)
    const { connect: connect2 } = await import('node:http2')
    const session = connect2(`http://${grpcAddress}`)
    const stream = session.request({
      ':method': 'POST',
      ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
      'content-type': 'application/grpc',
    })
    stream.on('error', () => {})
    stream.write(Buffer.from([0, 0, 0, 4, 0]))
    await expect.poll(() => intake.held).toBe(1024)
    session.destroy()
    await expect.poll(() => intake.held).toBe(0)
    expect(entry.released).toBe(2)
  })

  it('tells the pipeline when the sender gave up', async () => {
    const aborted: unknown[] = []
    const { grpc, http, entry } = await start()
    entry.consume = (_, signal) =>
      new Promise((_, fail) => {
        signal.addEventListener('abort', () => {
          aborted.push((signal.reason as { code: string }).code)
          fail(signal.reason as Error)
        })
      })
    expect((await grpc.export(body, { deadlineMs: 2000 })).code).toBe(4)
    const socket = connect(http, '127.0.0.1')
    socket.write(post(body.length))
    socket.write(body)
    await expect.poll(() => entry.admitted).toBe(2)
    await new Promise((resolve) => setImmediate(resolve))
    socket.destroy()
    await expect.poll(() => aborted).toEqual(['CANCELLED', 'CANCELLED'])
    await expect.poll(() => entry.released).toBe(2)
  })

  it('holds what it gave to the pipeline until that has answered, also when the sender gave up', async () => {
    const { grpc, http, entry, intake } = await start()
    const answers: (() => void)[] = []
    entry.consume = () => new Promise((resolve) => answers.push(() => resolve({ rejected: [] })))
    expect((await grpc.export(body, { deadlineMs: 2000 })).code).toBe(4)
    const socket = connect(http, '127.0.0.1')
    socket.write(post(body.length))
    socket.write(body)
    await expect.poll(() => answers).toHaveLength(2)
    const closed = new Promise((resolve) => socket.once('close', resolve))
    socket.destroy()
    await closed
    await new Promise((resolve) => setImmediate(resolve))
    expect(intake.held).toBeGreaterThanOrEqual(2 * body.length)
    expect(entry.released).toBe(0)
    for (const answer of answers) answer()
    await expect.poll(() => intake.held).toBe(0)
    expect(entry.released).toBe(2)
  })

  it('survives a rapid reset of HTTP/2 streams and serves others', async () => {
    const { grpcAddress, grpc, intake } = await start()
    const { connect: connect2, constants } = await import('node:http2')
    const session = connect2(`http://${grpcAddress}`)
    session.on('error', () => {})
    for (let n = 0; n < 3000 && !session.destroyed; n++) {
      const stream = session.request({
        ':method': 'POST',
        ':path': '/opentelemetry.proto.collector.trace.v1.TraceService/Export',
        'content-type': 'application/grpc',
      })
      stream.on('error', () => {})
      stream.close(constants.NGHTTP2_CANCEL)
      if (n % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    expect((await grpc.export(body)).code).toBe(0)
    session.destroy()
    await expect.poll(() => intake.held).toBe(0)
  })
})

describe('the shortfalls of the collector (notes/collector.md section 2, end)', () => {
  it('(a) 413, not 400, over the limit; (d) RESOURCE_EXHAUSTED without RetryInfo stays final; (e) Status in 405 and 415', async () => {
    const { http, grpc } = await start({
      http: { max_request_body_size: 10 },
      ...fails(reject('SPAN_TOO_LARGE', 'x')),
    })
    expect((await ask(http, { body })).status).toBe(413)
    expect(await grpc.export(body)).toMatchObject({ code: 8, details: undefined })
    expect(statusOf(await ask(http, { method: 'GET' })).message).toContain('POST')
    expect(statusOf(await ask(http, { headers: { 'content-type': 'text/plain' } })).code).toBe(3)
  })
})
