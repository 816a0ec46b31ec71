import { constants, type ServerHttp2Session, type ServerHttp2Stream } from 'node:http2'
import {
  ServerInterceptingCall,
  type Metadata,
  type ServerInterceptor,
  type ServerInterceptingCallInterface,
} from '@grpc/grpc-js'
import type { Entry, Head } from '../../pipeline/admission.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { ByteGate } from '../../pipeline/intake.ts'
import { encodingOf, tooLarge } from '../../pipeline/net/inflate.ts'
import { clientCertificate } from '../../pipeline/net/tls.ts'
import { wireStatus } from '../../pipeline/status.ts'
import { Passage } from '../../pipeline/net/passage.ts'
import type { Body } from './deliver.ts'
import { doubledHeaders } from './grpc-doubled.ts'
import { GrpcFrames } from './grpc-frames.ts'
import { grpcStatus } from './grpc-status.ts'

/**
 * What grpc-js keeps private and we need: the stream, to refuse a message before it is buffered; the encoding, to
 * inflate under our own limits after the digest was verified (grpc-js would inflate first); and what takes messages out
 * of the frames, to hear of a message's length before it has arrived and to copy its bytes once.
 * `otlp-lifecycle.test.ts` fails when an upgrade moves them.
 */
export interface BaseCall extends ServerInterceptingCallInterface {
  readonly stream: ServerHttp2Stream
  incomingEncoding: string
  decoder: { write(data: Buffer): Buffer[] }
}

export interface GrpcCallDeps {
  readonly limit: number
  readonly gate: ByteGate
  readonly next: Entry
  /** Hears of each call, before its admission. */
  readonly onCall: (session: ServerHttp2Session, stream: ServerHttp2Stream) => void
}

const BODY_TIMEOUT_MS = 30_000

/** Admits, meters and hands over the calls of one method; other methods pass untouched. */
export function grpcCalls(deps: GrpcCallDeps, path: string): ServerInterceptor {
  return (method, call) => {
    if (method.path !== path) return new ServerInterceptingCall(call)
    return new MeteredCall(call as BaseCall, new GrpcCall(call as BaseCall, method.path, deps))
  }
}

type Listener = Parameters<ServerInterceptingCallInterface['start']>[0]

/**
 * The call as the handler of grpc-js sees it. Straight to the call beneath, where the machinery for interceptors in
 * general takes several objects and closures per call.
 */
class MeteredCall extends ServerInterceptingCall {
  readonly #call: BaseCall
  readonly #state: GrpcCall

  constructor(call: BaseCall, state: GrpcCall) {
    super(call)
    this.#call = call
    this.#state = state
  }

  override start(listener: Listener): void {
    const state = this.#state
    this.#call.start({
      onReceiveMetadata: (metadata) =>
        void state.admit(metadata).then((go) => go && listener.onReceiveMetadata(metadata)),
      onReceiveMessage: (message: Buffer) => listener.onReceiveMessage(state.received(message)),
      onReceiveHalfClose: () => {
        if (!state.finished) listener.onReceiveHalfClose()
      },
      onCancel: () => {
        state.finish()
        listener.onCancel()
      },
    })
  }

  /** The status follows at once, in the same turn: nothing is to be learnt from the message having been written. */
  override sendMessage(message: Buffer, sent: () => void): void {
    this.#call.sendMessage(message, () => {})
    sent()
  }

  override sendStatus(status: Parameters<ServerInterceptingCallInterface['sendStatus']>[0]): void {
    this.#call.sendStatus(status)
  }
}

/** One call: what the handler gets as its request. */
export class GrpcCall {
  readonly #call: BaseCall
  readonly #deps: GrpcCallDeps
  readonly #path: string
  readonly #encoding: string
  readonly #abort = idle.pop() ?? new AbortController()
  #passage: Passage | undefined
  #message: Buffer | undefined
  readonly #frames: GrpcFrames
  #settled = false
  #finished = false
  #bodyTimer: NodeJS.Timeout | undefined

  constructor(call: BaseCall, path: string, deps: GrpcCallDeps) {
    this.#call = call
    this.#deps = deps
    this.#path = path
    this.#encoding = call.incomingEncoding
    call.incomingEncoding = 'identity'
    this.#frames = new GrpcFrames((length) => this.#reserve(length))
    call.decoder = this.#frames
    if (this.session) deps.onCall(this.session, call.stream)
  }

  get session(): ServerHttp2Session | undefined {
    return this.#call.stream.session as ServerHttp2Session | undefined
  }

  get passage(): Passage {
    if (this.#passage === undefined) throw new Error('the call was not admitted')
    return this.#passage
  }

  /** False: refused, and answered. grpc-js reads nothing of the body before `proceed`. */
  async admit(metadata: Metadata): Promise<boolean> {
    const passage = new Passage(new GrpcHead(this.#call, this.#path, metadata), this.#deps.gate)
    this.#passage = passage
    try {
      await passage.admit(this.#deps.next)
    } catch (error) {
      this.#fail(error)
      return false
    }
    this.#bodyTimer = setTimeout(() => {
      this.#fail(retry('CANCELLED', `the request body did not arrive within ${BODY_TIMEOUT_MS} ms`))
    }, BODY_TIMEOUT_MS)
    return true
  }

  received(message: Buffer): this {
    clearTimeout(this.#bodyTimer)
    this.#message = message
    return this
  }

  body(): Body {
    const bytes = this.#message ?? Buffer.alloc(0)
    const encoding = this.#frames.compressed ? encodingOf(this.#encoding) : 'identity'
    if (encoding === undefined) {
      throw reject('ENCODING_UNSUPPORTED', `grpc-encoding "${this.#encoding}" is not supported; use gzip`)
    }
    return { bytes, encoding, format: 'protobuf' }
  }

  /** Aborted when the sender gives up. */
  signal(): AbortSignal {
    return this.#abort.signal
  }

  /** The pipeline has answered: there is nothing left to abort. */
  settle(): void {
    this.#settled = true
  }

  get finished(): boolean {
    return this.#finished
  }

  /** grpc-js calls this once per call, whatever its end. */
  finish(): void {
    this.#finished = true
    clearTimeout(this.#bodyTimer)
    if (this.#settled) reuse(this.#abort)
    else this.#abort.abort(retry('CANCELLED', 'the sender gave up'))
    this.#passage?.finish()
  }

  /** False: refused, and answered. */
  #reserve(length: number): boolean {
    try {
      if (length > this.#deps.limit) throw tooLarge(this.#deps.limit)
      this.passage.take(length)
      return true
    } catch (error) {
      this.#fail(error)
      return false
    }
  }

  /** Answers before the message was read, and tells the sender to stop sending it (RFC 9113 section 8.1). */
  #fail(error: unknown): void {
    this.#call.sendStatus(grpcStatus(wireStatus(error)))
    this.#call.stream.close(constants.NGHTTP2_NO_ERROR)
  }
}

/** Controllers whose call was answered before its sender gave up: making one costs more than the rest of a call's state. */
const idle: AbortController[] = []
const MAX_IDLE = 256

function reuse(controller: AbortController): void {
  if (idle.length < MAX_IDLE && !controller.signal.aborted) idle.push(controller)
}

/** `ip:port` of a connection, looked up once: node:http2's socket proxy is slow, and gone when the connection is. */
const peers = new WeakMap<object, string>()

function peerOf(call: BaseCall): string {
  const { session } = call.stream
  if (session === undefined) return call.getPeer()
  const peer = peers.get(session) ?? call.getPeer()
  peers.set(session, peer)
  return peer
}

/** Facts of a call. */
class GrpcHead implements Head {
  readonly transport = 'grpc'
  readonly method = 'POST'
  readonly path: string
  readonly tls: boolean
  readonly clientCertificate?: NonNullable<Head['clientCertificate']>
  readonly peer: string
  readonly #metadata: Metadata
  readonly #doubled: ReadonlyMap<string, readonly string[]> | undefined

  constructor(call: BaseCall, path: string, metadata: Metadata) {
    this.peer = peerOf(call)
    this.#metadata = metadata
    this.#doubled = doubledHeaders(call.stream)
    this.path = path
    const { session } = call.stream
    this.tls = session?.encrypted === true
    const certificate = this.tls && session ? clientCertificate(session.socket) : undefined
    if (certificate) this.clientCertificate = certificate
  }

  header(name: string): readonly string[] {
    return this.#doubled?.get(name) ?? this.#metadata.get(name).map(String)
  }
}
