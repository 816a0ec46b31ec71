import { once } from 'node:events'
import { connect, constants, type ClientHttp2Session, type OutgoingHttpHeaders } from 'node:http2'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { afterEach, describe, expect, it } from 'vitest'
import type { Head } from '../../pipeline/admission.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { ACCEPTED } from '../../pipeline/consumer.ts'
import { receiverContext, TestEntry } from '../../test/contract/receiver.ts'
import { tracesRequest } from '../../test/contract/otlp-clients.ts'
import { otlp } from './factory.ts'
import { takeStreams } from './grpc-streams.ts'
import type { OtlpReceiver } from './otlp.ts'

const otlpMaker = await otlp.load()

/** Export calls are answered on bare HTTP/2 streams: what gRPC over HTTP/2 asks of a server there, seen from a bare client. */

const PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const cleanups: (() => Promise<void> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Keeps what reached the pipeline. */
class Stored extends TestEntry {
  readonly batches: Batch[] = []
  readonly heads: Head[] = []

  constructor() {
    super(async (batch) => {
      this.batches.push(batch)
      return ACCEPTED
    })
  }

  override async admit(head?: Head) {
    if (head) this.heads.push(head)
    return super.admit()
  }
}

async function start(entry = new Stored(), grpc: Record<string, unknown> = {}) {
  const { context, intake, listeners } = receiverContext('otlp')
  const config = otlp.config.parse({ protocols: { grpc: { endpoint: '127.0.0.1:0', ...grpc } } })
  const receiver = otlpMaker.create(config, context, entry) as OtlpReceiver
  await receiver.start()
  const address = `http://${receiver.addresses.get('grpc')}`
  const session = connect(address)
  session.on('error', () => {})
  cleanups.push(async () => {
    session.destroy()
    await receiver.stop(AbortSignal.timeout(2000))
    await listeners.close()
  })
  return { address, session, entry, intake }
}

interface Answer {
  /** Headers and trailers together. */
  readonly fields: Readonly<Record<string, unknown>>
  readonly message: Buffer
}

/** Sends the chunks, each as data of its own, and ends unless told not to. */
async function call(
  session: ClientHttp2Session,
  chunks: readonly Uint8Array[],
  { headers = {}, ends = true }: { headers?: OutgoingHttpHeaders; ends?: boolean } = {},
): Promise<Answer> {
  const stream = session.request({
    ':method': 'POST',
    ':path': PATH,
    'content-type': 'application/grpc',
    te: 'trailers',
    ...headers,
  })
  stream.on('error', () => {})
  const fields: Record<string, unknown> = {}
  stream.on('response', (response) => Object.assign(fields, response))
  stream.on('trailers', (trailers) => Object.assign(fields, trailers))
  const answer: Buffer[] = []
  stream.on('data', (data: Buffer) => answer.push(data))
  for (const chunk of chunks) await new Promise((sent) => stream.write(chunk, sent))
  if (ends) stream.end()
  await once(stream, 'close')
  return { fields, message: Buffer.concat(answer) }
}

function frame(message: Uint8Array): Buffer {
  const prefix = Buffer.alloc(5)
  prefix.writeUInt32BE(message.length, 1)
  return Buffer.concat([prefix, message])
}

const request = tracesRequest('a span')

describe('an export call', () => {
  it('is answered with headers, one message and trailers', async () => {
    const { session, intake } = await start()
    const { fields, message } = await call(session, [frame(request)])
    expect(fields).toMatchObject({
      ':status': 200,
      'content-type': 'application/grpc+proto',
      'grpc-status': '0',
    })
    expect(message).toEqual(Buffer.alloc(5))
    await expect.poll(() => intake.held).toBe(0)
  })

  it('may come in pieces, cut anywhere', async () => {
    const { session, entry } = await start()
    const whole = frame(request)
    for (const cut of [1, 4, 5, 6, whole.length - 1]) {
      const { fields } = await call(session, [whole.subarray(0, cut), whole.subarray(cut)])
      expect(fields['grpc-status']).toBe('0')
    }
    const bytes = await call(
      session,
      Array.from(whole, (byte) => Uint8Array.of(byte)),
    )
    expect(bytes.fields['grpc-status']).toBe('0')
    expect(entry.batches.map((batch) => batch.name(0))).toEqual(Array(6).fill('a span'))
  })

  it('is UNIMPLEMENTED with no message, or with two', async () => {
    const { session, entry, intake } = await start()
    const whole = frame(request)
    for (const chunks of [[], [whole, whole], [whole, whole.subarray(0, 20)]]) {
      expect((await call(session, chunks)).fields['grpc-status']).toBe('12')
    }
    expect(entry.batches).toEqual([])
    await expect.poll(() => intake.held).toBe(0)
  })

  it('is INTERNAL where its data ends within the message or its prefix', async () => {
    const { session, entry, intake } = await start()
    const whole = frame(request)
    for (const length of [1, 3, 5, 20, whole.length - 1]) {
      expect((await call(session, [whole.subarray(0, length)])).fields['grpc-status']).toBe('13')
    }
    expect(entry.batches).toEqual([])
    await expect.poll(() => intake.held).toBe(0)
  })

  it('is 415 where its content type is not gRPC', async () => {
    const { session, entry } = await start()
    const { fields } = await call(session, [frame(request)], { headers: { 'content-type': 'text/plain' } })
    expect(fields[':status']).toBe(415)
    expect(entry.admitted).toBe(0)
  })

  it('tells admission all values of a repeated header, also of those that HTTP knows as single', async () => {
    const { session, entry } = await start()
    await call(session, [frame(request)], { headers: { 'x-api-key': ['a', 'b'] } })
    expect(entry.heads[0]?.header('x-api-key')).toEqual(['a', 'b'])
    expect(entry.heads[0]?.header('absent')).toEqual([])
    expect(entry.heads[0]?.peer).toMatch(/^127\.0\.0\.1:\d+$/)
  })

  it('carries what went wrong in grpc-message, percent-encoded', async () => {
    const { session } = await start()
    const headers = { 'grpc-encoding': 'sn%ppy' }
    const compressed = frame(request)
    compressed[0] = 1
    const { fields } = await call(session, [compressed], { headers })
    expect(fields).toMatchObject({ 'grpc-status': '12', 'grpc-accept-encoding': 'identity,deflate,gzip' })
    expect(fields['grpc-message']).toContain('%22sn%25ppy%22%20is%20not%20supported')
    const long = await call(session, [compressed], { headers: { 'grpc-encoding': 'x'.repeat(30_000) } })
    expect(long.fields['grpc-message']).toMatch(/^grpc-encoding.{400,600}%E2%80%A6$/)
  })

  it('is INTERNAL where a message is flagged as compressed and nothing tells how', async () => {
    const { session, entry } = await start()
    const flagged = frame(request)
    flagged[0] = 1
    for (const headers of [{}, { 'grpc-encoding': 'identity' }])
      expect((await call(session, [flagged], { headers })).fields['grpc-status']).toBe('13')
    expect(entry.batches).toEqual([])
  })

  it('is INTERNAL where a message has flags that there are not', async () => {
    const { session, entry } = await start()
    const flagged = frame(request)
    for (const flags of [2, 3, 0x80]) {
      flagged[0] = flags
      const { fields } = await call(session, [flagged], { headers: { 'grpc-encoding': 'gzip' } })
      expect(fields['grpc-status']).toBe('13')
    }
    expect(entry.batches).toEqual([])
  })
})

describe('grpc-timeout', () => {
  it('ends a call that its sender does not cancel, and tells the pipeline', async () => {
    const entry = new Stored()
    const gaveUp = new Promise<string>((resolve) => {
      entry.consume = (_, signal) =>
        new Promise((_, fail) => {
          signal.addEventListener('abort', () => {
            resolve((signal.reason as { code: string }).code)
            fail(signal.reason as Error)
          })
        })
    })
    const { session, intake } = await start(entry)
    const { fields } = await call(session, [frame(request)], { headers: { 'grpc-timeout': '20m' } })
    expect(fields['grpc-status']).toBe('4')
    expect(await gaveUp).toBe('CANCELLED')
    await expect.poll(() => intake.held).toBe(0)
  })

  it('ends a call that waits for its admission, which is given back when it comes', async () => {
    const entry = new Stored()
    let admit = () => {}
    const admitted = new Promise<void>((resolve) => (admit = resolve))
    entry.admit = async () => {
      await admitted
      return TestEntry.prototype.admit.call(entry)
    }
    const { session } = await start(entry)
    const { fields } = await call(session, [frame(request)], { headers: { 'grpc-timeout': '20m' } })
    expect(fields['grpc-status']).toBe('4')
    admit()
    await expect.poll(() => entry.released).toBe(1)
    expect(entry.batches).toEqual([])
  })

  it('ends a call whose message does not come', async () => {
    const { session, intake } = await start()
    const { fields } = await call(session, [frame(request).subarray(0, 10)], {
      headers: { 'grpc-timeout': '20000u' },
      ends: false,
    })
    expect(fields['grpc-status']).toBe('4')
    await expect.poll(() => intake.held).toBe(0)
  })

  it('lets a call in time through, and is INTERNAL when it is no time', async () => {
    const { session } = await start()
    const status = async (timeout: string) => {
      const { fields } = await call(session, [frame(request)], { headers: { 'grpc-timeout': timeout } })
      return fields['grpc-status']
    }
    expect(await status('10S')).toBe('0')
    expect(await status('99999999H')).toBe('0')
    for (const wrong of ['', 'soon', '123456789S', '5', 'S', '-1S']) expect(await status(wrong)).toBe('13')
  })
})

describe('a sender that does not take its answer', () => {
  const stalled = async (headers: OutgoingHttpHeaders) => {
    const { intake, address, entry } = await start()
    const session = connect(address, { settings: { initialWindowSize: 0 } })
    session.on('error', () => {})
    cleanups.push(() => session.destroy())
    const stream = session.request({
      ':method': 'POST',
      ':path': PATH,
      'content-type': 'application/grpc',
      ...headers,
    })
    stream.on('error', () => {})
    const closed = once(stream, 'close')
    stream.end(frame(request))
    await once(stream, 'response')
    return { intake, entry, stream, closed }
  }

  it('holds none of the memory for requests', async () => {
    const { intake, entry, stream } = await stalled({})
    expect(entry.batches).toHaveLength(1)
    expect(intake.held).toBe(0)
    expect(stream.closed).toBe(false)
  })

  it('is cut off', async () => {
    const { closed, stream } = await stalled({ 'grpc-timeout': '300m' })
    await closed
    expect(stream.rstCode).toBe(constants.NGHTTP2_CANCEL)
  })
})

describe('the connections of grpc-js', () => {
  it('are idle only without a call under way', async () => {
    const entry = new Stored()
    let answer = () => {}
    const asked = new Promise<void>((resolve) => {
      entry.consume = () =>
        new Promise((done) => {
          answer = () => done(ACCEPTED)
          resolve()
        })
    })
    const idleMs = 150
    const { session } = await start(entry, {
      keepalive: { server_parameters: { max_connection_idle: `${idleMs}ms` } },
    })
    const answered = call(session, [frame(request)])
    await asked
    const goaway = once(session, 'goaway')
    const isGone = await Promise.race([
      goaway.then(() => true),
      new Promise((late) => setTimeout(late, 3 * idleMs, false)),
    ])
    expect(isGone).toBe(false)
    answer()
    expect((await answered).fields['grpc-status']).toBe('0')
    await goaway
  })

  it('are still to be had, with their streams, where the receiver looks for them', () => {
    const server = new Server()
    server.createConnectionInjector(ServerCredentials.createInsecure())
    const { http2Servers, onStreamOpened } = server as unknown as {
      http2Servers: Map<NodeJS.EventEmitter, unknown>
      onStreamOpened: unknown
    }
    expect(typeof onStreamOpened).toBe('function')
    const [http2] = http2Servers.keys()
    const before = http2?.listeners('stream')
    expect(before).toHaveLength(1)
    takeStreams(
      server,
      PATH,
      () => {},
      () => {},
    )
    expect(http2?.listeners('stream')).toHaveLength(1)
    expect(http2?.listeners('stream')).not.toEqual(before)
    server.forceShutdown()
  })
})
