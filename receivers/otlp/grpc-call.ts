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
import { Passage, type Body } from './deliver.ts'
import { grpcStatus } from './grpc-status.ts'

/**
 * What grpc-js keeps private and we need: the stream, to see a message's length before it is buffered, and the
 * encoding, to inflate under our own limits after the digest was verified (grpc-js would inflate first).
 * `otlp-lifecycle.test.ts` fails when an upgrade moves them.
 */
export interface BaseCall extends ServerInterceptingCallInterface {
  readonly stream: ServerHttp2Stream
  incomingEncoding: string
}

export interface GrpcCallDeps {
  readonly limit: number
  readonly gate: ByteGate
  readonly next: Entry
  /** Hears of each call, before its admission. */
  readonly onCall: (session: ServerHttp2Session, stream: ServerHttp2Stream) => void
}

/** gRPC length-prefixed message: one byte of flags (1: compressed), four of length, big-endian. */
const PREFIX_BYTES = 5
const BODY_TIMEOUT_MS = 30_000

/** Admits, meters and hands over the calls of one method; other methods pass untouched. */
export function grpcCalls(deps: GrpcCallDeps, path: string): ServerInterceptor {
  return (method, call) => {
    if (method.path !== path) return new ServerInterceptingCall(call)
    const state = new GrpcCall(call as BaseCall, method.path, deps)
    return new ServerInterceptingCall(call, {
      start: (next) =>
        next({
          onReceiveMetadata: (metadata, proceed) =>
            void state.admit(metadata).then((go) => go && proceed(metadata)),
          onReceiveMessage: (message: Buffer, proceed) => proceed(state.received(message)),
          onReceiveHalfClose: (proceed) => proceed(),
          onCancel: () => state.finish(),
        }),
    })
  }
}

/** One call: what the handler gets as its request. */
export class GrpcCall {
  readonly #call: BaseCall
  readonly #deps: GrpcCallDeps
  readonly #path: string
  readonly #encoding: string
  readonly #abort = new AbortController()
  #passage: Passage | undefined
  #message: Buffer | undefined
  #compressed = false
  #settled = false
  #bodyTimer: NodeJS.Timeout | undefined

  constructor(call: BaseCall, path: string, deps: GrpcCallDeps) {
    this.#call = call
    this.#deps = deps
    this.#path = path
    this.#encoding = call.incomingEncoding
    call.incomingEncoding = 'identity'
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
    this.#watchPrefix()
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
    const encoding = this.#compressed ? encodingOf(this.#encoding) : 'identity'
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

  /** grpc-js calls this once per call, whatever its end. */
  finish(): void {
    clearTimeout(this.#bodyTimer)
    if (!this.#settled) this.#abort.abort(retry('CANCELLED', 'the sender gave up'))
    this.#passage?.finish()
  }

  /** Reserves the bytes of a message when its length is known, before the rest arrives. */
  #watchPrefix(): void {
    const { stream } = this.#call
    let seen: Buffer = Buffer.alloc(0)
    const onData = (chunk: Buffer) => {
      seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
      if (seen.length < PREFIX_BYTES) return
      stream.off('data', onData)
      this.#compressed = seen[0] === 1
      this.#reserve(seen.readUInt32BE(1))
    }
    // `prepend`: a refusal must come before grpc-js starts to buffer. It does not make the stream flow.
    stream.prependListener('data', onData)
  }

  #reserve(length: number): void {
    try {
      if (length > this.#deps.limit) throw tooLarge(this.#deps.limit)
      this.passage.take(length)
    } catch (error) {
      this.#fail(error)
    }
  }

  /** Answers before the message was read, and tells the sender to stop sending it (RFC 9113 section 8.1). */
  #fail(error: unknown): void {
    this.#call.sendStatus(grpcStatus(wireStatus(error)))
    this.#call.stream.close(constants.NGHTTP2_NO_ERROR)
  }
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

  constructor(call: BaseCall, path: string, metadata: Metadata) {
    this.peer = peerOf(call)
    this.#metadata = metadata
    this.path = path
    const { session } = call.stream
    this.tls = session?.encrypted === true
    const certificate = this.tls && session ? clientCertificate(session.socket) : undefined
    if (certificate) this.clientCertificate = certificate
  }

  header(name: string): readonly string[] {
    return this.#metadata.get(name).map(String)
  }
}
