import { once } from 'node:events'
import { connect, type OutgoingHttpHeaders } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { gzipSync } from 'node:zlib'
import { afterEach, expect, it } from 'vitest'
import type { Admitted } from '../../pipeline/admission.ts'
import { ACCEPTED } from '../../pipeline/consumer.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import { observeReceiver } from '../../pipeline/telemetry/observe.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { ask, JSON_TYPE, PROTOBUF, tracesRequest } from '../../test/contract/otlp-clients.ts'
import { receiverContext, TestEntry } from '../../test/contract/receiver.ts'
import { parsePrometheus } from '../../test/support/parse-prometheus.ts'
import { otlp } from './factory.ts'
import type { OtlpReceiver } from './otlp.ts'

/** What is refused before the pipeline sees it is counted by request, what the pipeline refuses is not counted twice. */

const maker = await otlp.load()
const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function start({ intakeBytes = 1 << 20 } = {}) {
  const meter = createMeter()
  const { context, intake, listeners } = receiverContext('otlp', { intakeBytes })
  const entry = new TestEntry(async () => ACCEPTED)
  const value = otlp.config.parse({
    protocols: {
      grpc: { endpoint: '127.0.0.1:0', max_recv_msg_size_mib: 1 },
      http: { endpoint: '127.0.0.1:0', max_request_body_size: 1000, read_timeout: '500ms' },
    },
  })
  const receiver = maker.create(value, context, observeReceiver(entry, 'otlp', meter)) as OtlpReceiver
  await receiver.start()
  const session = connect(`http://${receiver.addresses.get('grpc')}`)
  session.on('error', () => {})
  cleanups.push(async () => {
    session.destroy()
    await receiver.stop(AbortSignal.timeout(2000))
    await listeners.close()
  })
  /** Requests by outcome or reason. */
  const counted = async (transport: string) => {
    const page = parsePrometheus(await meter.render())
    const labels = `receiver="otlp",transport="${transport}"`
    const requests = new RegExp(
      `^(?:otelcol_receiver_requests|weir_receiver_refused_requests)\\{${labels},(.*)"\\}`,
    )
    return Object.fromEntries(
      [...page].flatMap(([key, value]) => {
        const [, label = ''] = requests.exec(key) ?? []
        return label === '' ? [] : [[label.replace('="', ' '), value]]
      }),
    )
  }
  return { http: Number(receiver.addresses.get('http')?.split(':')[1]), session, entry, intake, counted }
}

type Started = Awaited<ReturnType<typeof start>>

async function call({ session }: Started, data: Uint8Array, headers: OutgoingHttpHeaders = {}, ends = true) {
  const stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    ...headers,
  })
  stream.on('error', () => {})
  stream.resume()
  if (ends) stream.end(data)
  else stream.write(data)
  await new Promise((resolve) => stream.on('close', resolve))
}

function frame(message: Uint8Array, flags = 0, length = message.length): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt8(flags)
  prefix.writeUInt32BE(length, 1)
  return Buffer.concat([prefix, message])
}

async function raw(port: number, text: string): Promise<void> {
  const socket = connectTcp(port, '127.0.0.1')
  socket.write(text)
  socket.resume()
  await once(socket, 'close')
}

const body = tracesRequest('a span')

it('counts what it refuses over gRPC, by reason', async () => {
  const at = await start()
  const whole = frame(body)
  for (const data of [Buffer.alloc(0), whole.subarray(0, 20), Buffer.concat([whole, whole]), frame(body, 2)])
    await call(at, data)
  await call(at, frame(Buffer.from('no protobuf')))
  await call(at, frame(gzipSync(body).subarray(0, 20), 1), { 'grpc-encoding': 'gzip' })
  await call(at, frame(body, 1))
  await call(at, frame(body, 1), { 'grpc-encoding': 'snappy' })
  await call(at, frame(body, 0, (1 << 20) + 1), {}, false)
  await call(at, whole, { 'grpc-timeout': 'soon' })
  await call(at, whole.subarray(0, 20), { 'grpc-timeout': '20m' }, false)
  await call(at, whole, { 'content-type': 'application/json' })
  await call(at, whole, { ':path': '/opentelemetry.proto.collector.logs.v1.LogsService/Export' })
  at.intake.take(1 << 20)
  await call(at, whole)
  at.intake.give(1 << 20)
  await call(at, whole)
  expect(await at.counted('grpc')).toEqual({
    'reason malformed': 6,
    'reason encoding': 2,
    'reason too_large': 1,
    'reason headers': 1,
    'reason timeout': 1,
    'reason content_type': 1,
    'reason not_found': 1,
    'reason unavailable': 1,
    'outcome success': 1,
  })
})

it('counts what it refuses over HTTP, by reason', async () => {
  const { http, intake, counted } = await start()
  const post = 'POST /v1/traces HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n'
  await ask(http, { body: Buffer.from('no protobuf') })
  await ask(http, { headers: JSON_TYPE, body: Buffer.from('{') })
  await ask(http, { headers: { ...PROTOBUF, 'content-encoding': 'gzip' }, body: Buffer.from('no gzip') })
  await ask(http, { headers: { ...PROTOBUF, 'content-encoding': 'br' }, body })
  await ask(http, { headers: { 'content-type': 'text/plain' }, body })
  await ask(http, { body: Buffer.alloc(1001) })
  await ask(http, {
    headers: { ...PROTOBUF, 'content-encoding': 'gzip' },
    body: gzipSync(Buffer.alloc(5000)),
  })
  await ask(http, { path: '/v1/logs', body })
  await ask(http, { method: 'GET' })
  await raw(http, `${post}Content-Length: 9\r\nConnection: close\r\n\r\n{`)
  await raw(http, `${post}X: ${'y'.repeat(20_000)}\r\n\r\n`)
  await raw(http, 'EHLO collector\r\n\r\n')
  intake.take(1 << 20)
  await ask(http, { body })
  intake.give(1 << 20)
  await ask(http, { body })
  expect(await counted('http')).toEqual({
    'reason malformed': 4,
    'reason encoding': 1,
    'reason content_type': 1,
    'reason too_large': 2,
    'reason not_found': 1,
    'reason method': 1,
    'reason timeout': 1,
    'reason headers': 1,
    'reason unavailable': 1,
    'outcome success': 1,
  })
})

it('leaves to the pipeline what that has refused, or has still', async () => {
  const at = await start()
  const { entry, http, counted } = at
  entry.consume = () => Promise.reject(retry('WAL_FULL', 'full'))
  await ask(http, { body })
  await call(at, frame(body))
  entry.consume = () => new Promise((_, fail) => setTimeout(fail, 1500, new TypeError('a bug')))
  await call(at, frame(body), { 'grpc-timeout': '500m' })
  await expect.poll(() => counted('grpc')).toEqual({ 'outcome refused': 1, 'outcome failure': 1 })
  entry.admit = () => Promise.reject(reject('UNAUTHENTICATED', 'who?'))
  await ask(http, { body })
  await call(at, frame(body))
  expect(await counted('http')).toEqual({ 'outcome refused': 2 })
  expect(await counted('grpc')).toEqual({ 'outcome refused': 2, 'outcome failure': 1 })
})

it('counts what fails between admission and the pipeline: a digest that is not the signed one', async () => {
  const at = await start()
  const admitted = await at.entry.admit()
  const verify = () => Promise.reject(reject('UNAUTHENTICATED', 'not what was signed'))
  at.entry.admit = async (): Promise<Admitted> => ({ ...admitted, wantsDigest: true, verify })
  await ask(at.http, { body })
  await call(at, frame(body))
  expect(await at.counted('http')).toEqual({ 'reason unauthenticated': 1 })
  expect(await at.counted('grpc')).toEqual({ 'reason unauthenticated': 1 })
})
