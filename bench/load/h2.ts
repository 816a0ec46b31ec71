import { connect, type Socket } from 'node:net'
import {
  FLAG,
  FRAME,
  frameHead,
  FrameReader,
  headerBlocks,
  PREFACE,
  SETTING,
  settingsFrame,
  windowFrame,
} from './h2-frames.ts'

/** How an answer came: `ok` acknowledged, `refused` come again, `failed` anything else. */
export type Answer = { readonly kind: 'ok' | 'refused' | 'failed'; readonly detail: string }

const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
/** What both sides may send before they hear of each other's settings (RFC 9113 section 6.9.2). */
const INITIAL_WINDOW = 65_535
const INITIAL_FRAME = 16_384
/** Answers are small: the connection's window is widened when this much of it was used. */
const WIDEN_BYTES = 32_768

interface Call {
  readonly id: number
  readonly body: Uint8Array
  sent: number
  /** What the peer lets this stream send. */
  window: number
  /** Bytes of the answer's message. */
  received: number
  readonly settle: (answer: Answer) => void
}

/**
 * Unary gRPC in bare HTTP/2 frames over one connection. node:http2 takes as much CPU on the client's side of a small
 * request as the server under test on its own, so that on few cores a benchmark measured its client. Just enough of the
 * protocol for our own server: no push, no continuation, no Huffman coding. A unary answer with a message is an
 * acknowledgement, one of trailers alone a refusal (gRPC over HTTP/2, "Responses").
 */
export class GrpcConnection {
  readonly #socket: Socket
  readonly #blocks: { first: Buffer; later: Buffer }
  readonly #calls = new Map<number, Call>()
  /** Calls with something left to send, in order. */
  #sending: Call[] = []
  #nextId = 1
  #window = INITIAL_WINDOW
  #streamWindow = INITIAL_WINDOW
  #maxFrame = INITIAL_FRAME
  #consumed = 0
  #failure = ''

  constructor(endpoint: string) {
    const [host = '', port] = endpoint.split(':')
    this.#blocks = headerBlocks([
      [':path', GRPC_PATH],
      [':authority', endpoint],
      ['content-type', 'application/grpc'],
      ['te', 'trailers'],
      // As the SDKs' exporters send them; they are part of what a small request costs its server.
      ['user-agent', 'weir-bench'],
      ['grpc-timeout', '10S'],
    ])
    const reader = new FrameReader((type, flags, stream, payload) => this.#take(type, flags, stream, payload))
    this.#socket = connect({ host, port: Number(port), noDelay: true })
    this.#socket.on('data', (chunk: Buffer) => reader.push(chunk))
    this.#socket.on('error', (error) => this.#fail(error.message))
    this.#socket.on('close', () => this.#fail('the connection was closed'))
    this.#socket.write(PREFACE)
    // Without a dynamic table on our side nothing of an answer's headers has to be remembered.
    this.#socket.write(settingsFrame({ [SETTING.headerTableSize]: 0, [SETTING.enablePush]: 0 }))
  }

  /** `framed`: the 5-byte gRPC prefix and the request; untouched until the answer. */
  send(framed: Uint8Array): Promise<Answer> {
    if (this.#failure !== '') return Promise.resolve({ kind: 'failed', detail: this.#failure })
    return new Promise((settle) => {
      const id = this.#nextId
      this.#nextId += 2
      const call = { id, body: framed, sent: 0, window: this.#streamWindow, received: 0, settle }
      this.#calls.set(id, call)
      const block = id === 1 ? this.#blocks.first : this.#blocks.later
      this.#cork()
      this.#socket.write(frameHead(block.length, FRAME.headers, FLAG.endHeaders, id))
      this.#socket.write(block)
      this.#sending.push(call)
      this.#pump()
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  /** All that is written within one turn leaves in one system call. */
  #cork(): void {
    if (this.#socket.writableCorked > 0) return
    this.#socket.cork()
    setImmediate(() => this.#socket.uncork())
  }

  #pump(): void {
    const blocked: Call[] = []
    for (const call of this.#sending) {
      while (this.#window > 0 && call.window > 0 && call.sent < call.body.length) this.#sendSome(call)
      if (call.sent < call.body.length) blocked.push(call)
    }
    this.#sending = blocked
  }

  #sendSome(call: Call): void {
    const left = call.body.length - call.sent
    const size = Math.min(left, this.#maxFrame, this.#window, call.window)
    this.#cork()
    this.#socket.write(frameHead(size, FRAME.data, size === left ? FLAG.endStream : 0, call.id))
    this.#socket.write(call.body.subarray(call.sent, call.sent + size))
    call.sent += size
    call.window -= size
    this.#window -= size
  }

  #take(type: number, flags: number, stream: number, payload: Buffer): void {
    if (type === FRAME.data) this.#message(stream, payload.length)
    else if (type === FRAME.headers) this.#headers(stream, flags)
    else if (type === FRAME.windowUpdate) this.#widen(stream, payload.readUInt32BE(0) & 0x7fff_ffff)
    else if (type === FRAME.settings && (flags & FLAG.ack) === 0) this.#settings(payload)
    else if (type === FRAME.ping && (flags & FLAG.ack) === 0) {
      this.#socket.write(Buffer.concat([frameHead(8, FRAME.ping, FLAG.ack, 0), payload]))
    } else if (type === FRAME.rstStream) {
      this.#settle(stream, { kind: 'failed', detail: `reset with code ${payload.readUInt32BE(0)}` })
    } else if (type === FRAME.goAway) this.#fail(`sent away with code ${payload.readUInt32BE(4)}`)
  }

  #message(stream: number, bytes: number): void {
    const call = this.#calls.get(stream)
    if (call !== undefined) call.received += bytes
    this.#consumed += bytes
    if (this.#consumed < WIDEN_BYTES) return
    this.#socket.write(windowFrame(0, this.#consumed))
    this.#consumed = 0
  }

  #headers(stream: number, flags: number): void {
    if ((flags & FLAG.endStream) === 0) return
    const hasMessage = (this.#calls.get(stream)?.received ?? 0) > 0
    this.#settle(stream, hasMessage ? OK : { kind: 'refused', detail: 'refused by the daemon' })
  }

  #widen(stream: number, bytes: number): void {
    if (stream === 0) this.#window += bytes
    else {
      const call = this.#calls.get(stream)
      if (call !== undefined) call.window += bytes
    }
    this.#pump()
  }

  #settings(payload: Buffer): void {
    for (let at = 0; at < payload.length; at += 6) {
      const value = payload.readUInt32BE(at + 2)
      const id = payload.readUInt16BE(at)
      if (id === SETTING.maxFrameSize) this.#maxFrame = value
      if (id !== SETTING.initialWindowSize) continue
      for (const call of this.#calls.values()) call.window += value - this.#streamWindow
      this.#streamWindow = value
    }
    this.#socket.write(frameHead(0, FRAME.settings, FLAG.ack, 0))
    this.#pump()
  }

  #settle(stream: number, answer: Answer): void {
    const call = this.#calls.get(stream)
    if (call === undefined) return
    this.#calls.delete(stream)
    this.#sending = this.#sending.filter((other) => other !== call)
    call.settle(answer)
  }

  #fail(detail: string): void {
    this.#failure ||= detail
    for (const id of this.#calls.keys()) this.#settle(id, { kind: 'failed', detail })
  }
}

const OK: Answer = { kind: 'ok', detail: '' }
