import {
  constants,
  type IncomingHttpHeaders,
  type ServerHttp2Session,
  type ServerHttp2Stream,
} from 'node:http2'
import type { Entry } from '../../pipeline/admission.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { ByteGate } from '../../pipeline/intake.ts'
import { encodingOf, tooLarge } from '../../pipeline/net/inflate.ts'
import { Passage } from '../../pipeline/net/passage.ts'
import { GRPC } from '../../pipeline/status.ts'
import type { Deadlines, Expiring } from './deadlines.ts'
import type { Body } from './deliver.ts'
import { GrpcHead } from './grpc-head.ts'
import { COMPRESSED, GrpcMessage, type Room } from './grpc-message.ts'
import {
  DEADLINE_EXCEEDED,
  framed,
  type GrpcRefusal,
  OK_TRAILERS,
  refusalOf,
  RESPONSE_HEADERS,
  statusHeaders,
  timeoutMs,
} from './grpc-status.ts'

export interface GrpcCallDeps {
  readonly limit: number
  readonly gate: ByteGate
  readonly next: Entry
  readonly deadlines: Deadlines
  /** The request is there, whole. */
  readonly onRequest: (call: GrpcCall) => void
  /** Once per call, after its end. */
  readonly onClose: (session: ServerHttp2Session) => void
}

const BODY_TIMEOUT_MS = 30_000
/** For the sender to take its answer. */
const WRITE_TIMEOUT_MS = 30_000

/** One unary call over its HTTP/2 stream: admitted by its head, read, handed over, answered. */
export class GrpcCall implements Expiring, Room {
  readonly session: ServerHttp2Session
  readonly passage: Passage
  readonly #stream: ServerHttp2Stream
  readonly #deps: GrpcCallDeps
  readonly #encoding: string | undefined
  readonly #abort = idle.pop() ?? new AbortController()
  readonly #message: GrpcMessage
  /** The sender's own deadline. */
  readonly #deadlineMs: number
  /** Of the body, then of the answer. */
  #senderDeadlineMs = Number.POSITIVE_INFINITY
  #isWatched = false
  #isSettled = false
  /** The pipeline has it. */
  #isTaken = false
  #isAnswered = false

  constructor(
    session: ServerHttp2Session,
    stream: ServerHttp2Stream,
    headers: IncomingHttpHeaders,
    raw: readonly string[],
    deps: GrpcCallDeps,
  ) {
    this.session = session
    this.#stream = stream
    this.#deps = deps
    this.passage = new Passage(new GrpcHead(session, headers[':path'] ?? '', raw), deps.gate)
    this.#encoding = textOf(headers['grpc-encoding'])
    this.#message = new GrpcMessage(this)
    const timeout = headers['grpc-timeout']
    this.#deadlineMs = timeout === undefined ? Number.POSITIVE_INFINITY : deadlineOf(textOf(timeout) ?? '')
    ;(stream as Carrier)[CALL] = this
    stream.on('error', ignore)
    stream.on('close', onClose)
  }

  /** Nothing of the body is read before the head was admitted. */
  start(): void {
    if (Number.isNaN(this.#deadlineMs)) {
      this.#refuseEarly(NO_TIMEOUT)
      return
    }
    if (this.#deadlineMs !== Number.POSITIVE_INFINITY) this.#watch()
    try {
      const judged = this.passage.admit(this.#deps.next)
      if (judged === undefined) this.#read()
      else void this.#readOnce(judged)
    } catch (error) {
      this.#refuseEarly(refusalOf(error))
    }
  }

  async #readOnce(judged: Promise<undefined>): Promise<void> {
    try {
      await judged
    } catch (error) {
      this.#refuseEarly(refusalOf(error))
      return
    }
    this.#read()
  }

  #read(): void {
    if (this.#isAnswered || this.#stream.destroyed) return
    this.#senderDeadlineMs = performance.now() + BODY_TIMEOUT_MS
    this.#watch()
    this.#stream.on('data', onData)
    this.#stream.on('end', onEnd)
  }

  #watch(): void {
    if (!this.#isWatched) this.#deps.deadlines.add(this)
    this.#isWatched = true
  }

  #unwatch(): void {
    if (this.#isWatched) this.#deps.deadlines.delete(this)
    this.#isWatched = false
  }

  get expiresAtMs(): number {
    return Math.min(this.#senderDeadlineMs, this.#deadlineMs)
  }

  expire(): void {
    this.#isWatched = false
    if (this.#isAnswered) {
      this.#stream.close(constants.NGHTTP2_CANCEL)
      return
    }
    const isLate = this.#deadlineMs <= this.#senderDeadlineMs
    const refusal = isLate ? DEADLINE_EXCEEDED : refusalOf(bodyTimeout())
    this.#refuseEarly(this.#isTaken ? refusal : { ...refusal, reason: 'timeout' })
  }

  /** Throws ENCODING_UNSUPPORTED. */
  body(): Body {
    const bytes = this.#message.whole ?? EMPTY
    const encoding = this.#message.flags === COMPRESSED ? encodingOf(this.#encoding) : 'identity'
    if (encoding === undefined) {
      throw reject('ENCODING_UNSUPPORTED', `grpc-encoding "${this.#encoding}" is not supported; use gzip`)
    }
    return { bytes, encoding, format: 'protobuf' }
  }

  /** Aborted when the sender gives up. */
  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** The pipeline has answered: there is nothing left to abort, nor to hold. */
  settle(): void {
    this.#isSettled = true
    this.passage.finish()
  }

  answer(message: Buffer): void {
    if (!this.#mayAnswer()) return
    const stream = this.#stream
    stream.on('wantTrailers', sendOk)
    stream.respond(RESPONSE_HEADERS, WITH_TRAILERS)
    stream.end(framed(message))
    this.#senderDeadlineMs = performance.now() + WRITE_TIMEOUT_MS
    this.#watch()
  }

  refuse(refusal: GrpcRefusal): void {
    if (!this.#mayAnswer()) return
    this.#deps.next.refused?.('grpc', refusal)
    this.#stream.respond(statusHeaders(refusal), LAST)
  }

  /** No answer can be made: the sender is told at least that. */
  abandon(): void {
    this.#stream.close(constants.NGHTTP2_INTERNAL_ERROR)
  }

  /** Answers before the message was read, and tells the sender to stop sending it (RFC 9113 section 8.1). */
  #refuseEarly(refusal: GrpcRefusal): void {
    this.refuse(refusal)
    this.#stream.resume()
    this.#stream.close(constants.NGHTTP2_NO_ERROR)
  }

  /** Nothing of the request is needed any more, however long its sender takes to read the answer. */
  #mayAnswer(): boolean {
    if (this.#isAnswered || this.#stream.destroyed || this.#stream.closed) return false
    this.#isAnswered = true
    this.#message.drop()
    this.#finish()
    return true
  }

  /** What the pipeline was given it holds until it has answered, whether the sender still waits or not. */
  #finish(): void {
    if (!this.#isTaken) this.passage.finish()
  }

  /** Something of the body has come. */
  push(data: Buffer): void {
    this.#message.push(data)
  }

  /** The sender has ended its side. */
  received(): void {
    if (this.#isAnswered) return
    this.#senderDeadlineMs = Number.POSITIVE_INFINITY
    if (this.#deadlineMs === Number.POSITIVE_INFINITY) this.#unwatch()
    const { whole, isFollowed, flags } = this.#message
    if (whole === undefined) this.refuse(this.#message.isBegun ? CUT_SHORT : NOT_ONE_MESSAGE)
    else if (isFollowed) this.refuse(NOT_ONE_MESSAGE)
    else if (flags > COMPRESSED) this.refuse(UNKNOWN_FLAGS)
    else if (flags === COMPRESSED && encodingOf(this.#encoding) === 'identity') this.refuse(NOT_ENCODED)
    else {
      this.#isTaken = true
      this.#deps.onRequest(this)
    }
  }

  /** The stream has closed. */
  closed(): void {
    this.#unwatch()
    if (this.#isSettled) reuse(this.#abort)
    else this.#abort.abort(retry('CANCELLED', 'the sender gave up'))
    this.#finish()
    this.#deps.onClose(this.session)
  }

  /** False: refused, and answered. */
  reserve(length: number): boolean {
    try {
      if (length > this.#deps.limit) throw tooLarge(this.#deps.limit)
      this.passage.take(length)
      return true
    } catch (error) {
      this.#refuseEarly(refusalOf(error))
      return false
    }
  }
}

const EMPTY = Buffer.alloc(0)
const WITH_TRAILERS = { waitForTrailers: true, sendDate: false } as const
const LAST = { endStream: true, sendDate: false } as const
/** gRPC status codes (doc/statuscodes.md), "Request cardinality violation"; grpc-go and grpc-java say INTERNAL. */
const NOT_ONE_MESSAGE = {
  grpc: GRPC.UNIMPLEMENTED,
  message: 'this method takes exactly one message',
  reason: 'malformed',
} as const
/** As grpc-go and grpc-java answer this and the next; the specification has no code for them. */
const CUT_SHORT = {
  grpc: GRPC.INTERNAL,
  message: 'the stream ended within the message',
  reason: 'malformed',
} as const
const UNKNOWN_FLAGS = {
  grpc: GRPC.INTERNAL,
  message: 'the message has flags other than the one for compression',
  reason: 'malformed',
} as const
/** gRPC compression (doc/compression.md): the flag without an encoding. */
const NOT_ENCODED = {
  grpc: GRPC.INTERNAL,
  message: 'the message is flagged as compressed, but grpc-encoding does not tell how',
  reason: 'encoding',
} as const
const NO_TIMEOUT = {
  grpc: GRPC.INTERNAL,
  message: 'grpc-timeout is not up to 8 digits and a unit',
  reason: 'headers',
} as const

const CALL: unique symbol = Symbol('call')
type Carrier = ServerHttp2Stream & { [CALL]: GrpcCall }

/** Whatever breaks a stream also closes it. */
function ignore(): void {}

// One listener each for all calls, not one per call.
function onData(this: Carrier, data: Buffer): void {
  this[CALL].push(data)
}

function onEnd(this: Carrier): void {
  this[CALL].received()
}

function onClose(this: Carrier): void {
  this[CALL].closed()
}

function sendOk(this: ServerHttp2Stream): void {
  this.sendTrailers(OK_TRAILERS)
}

function textOf(value: string | readonly string[] | undefined): string | undefined {
  return typeof value === 'string' ? value : value?.[0]
}

/** On the clock of `performance.now()`; NaN: the header is no time. */
function deadlineOf(header: string): number {
  return performance.now() + (timeoutMs(header) ?? Number.NaN)
}

function bodyTimeout(): Error {
  return retry('CANCELLED', `the request body did not arrive within ${BODY_TIMEOUT_MS} ms`)
}

/** Controllers whose call was answered before its sender gave up: making one costs more than the rest of a call's state. */
const idle: AbortController[] = []
const MAX_IDLE = 256

function reuse(controller: AbortController): void {
  if (idle.length < MAX_IDLE) idle.push(controller)
}
