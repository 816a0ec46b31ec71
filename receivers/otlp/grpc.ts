import {
  type sendUnaryData,
  Server,
  ServerCredentials,
  type ServerUnaryCall,
  status,
  type UntypedHandleCall,
} from '@grpc/grpc-js'
import type { Duplex } from 'node:stream'
import type { Socket } from 'node:net'
import type { ServerHttp2Session } from 'node:http2'
import type { Entry } from '../../pipeline/admission.ts'
import type { Outcome } from '../../pipeline/consumer.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { Listening } from '../../pipeline/net/listeners.ts'
import { within } from '../../pipeline/net/within.ts'
import { TlsFront } from '../../pipeline/net/tls.ts'
import { GRPC } from '../../pipeline/status.ts'
import type { GrpcConfig } from './config.ts'
import { Delivery } from './deliver.ts'
import { Deadlines } from './deadlines.ts'
import { GrpcCall, type GrpcCallDeps } from './grpc-call.ts'
import { PingPolicy } from './grpc-ping.ts'
import { GRACE_MS, GrpcSessions } from './grpc-sessions.ts'
import { type GrpcRefusal, refusalOf } from './grpc-status.ts'
import { takeStreams, type TakeStream } from './grpc-streams.ts'
import type { Protocol } from './otlp.ts'
import { exportResponse } from './reply.ts'
import { OncePerSender } from './once-per-sender.ts'

const MIB = 1024 * 1024
/** MiB of HTTP/2 state per connection; grpc-js sets none (notes/reliability.md section 4). Bodies are not in it. */
const SESSION_MIB = 8
/** RFC 9113 section 3.4: 24 bytes of preface and a SETTINGS frame of at least 9. */
const PREFACE_BYTES = 33
const PREFACE_MS = 10_000
const TRACES = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const OTHER_SIGNALS = [
  '/opentelemetry.proto.collector.logs.v1.LogsService/Export',
  '/opentelemetry.proto.collector.metrics.v1.MetricsService/Export',
  '/opentelemetry.proto.collector.profiles.v1development.ProfilesService/Export',
]

/** OTLP/gRPC: the connections are grpc-js', their export calls are taken past it, the sockets come from the listener pool. */
export class GrpcProtocol implements Protocol {
  readonly #config: GrpcConfig
  readonly #context: Context
  readonly #next: Entry
  readonly #delivery: Delivery
  readonly #limit: number
  readonly #unimplemented: OncePerSender
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new GrpcSessions()
  readonly #deadlines = new Deadlines()
  #server: Server | undefined
  #tls: TlsFront | undefined
  #listening: Listening | undefined
  #stopping: Promise<void> | undefined

  constructor(config: GrpcConfig, context: Context, next: Entry) {
    this.#config = config
    this.#context = context
    this.#next = next
    this.#limit = config.max_recv_msg_size_mib * MIB
    this.#delivery = new Delivery(context, next, 'grpc', this.#limit)
    this.#unimplemented = new OncePerSender(context.log)
  }

  async start(): Promise<string> {
    const server = new Server(this.#options())
    this.#server = server
    this.#refuseOthers(server)
    const injector = server.createConnectionInjector(ServerCredentials.createInsecure())
    takeStreams(server, TRACES, this.#taker(), (reason) => this.#next.refused?.('grpc', { reason }))
    const inject = (socket: Duplex) => injector.injectConnection(socket)
    if (this.#config.tls) {
      this.#tls = new TlsFront(this.#config.tls, ['h2'], this.#context.log)
      await this.#tls.start(inject)
    }
    this.#listening = await this.#context.listeners.listen(this.#config.endpoint, (socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
      cutSilent(socket)
      if (this.#tls) this.#tls.accept(socket)
      else inject(socket)
    })
    return this.#listening.address
  }

  async refresh(): Promise<void> {
    await this.#tls?.reload()
  }

  stop(deadline: AbortSignal): Promise<void> {
    this.#stopping ??= this.#drain(deadline)
    return this.#stopping
  }

  /** GOAWAY to every connection; requests under way are answered until the deadline. */
  async #drain(deadline: AbortSignal): Promise<void> {
    await this.#listening?.release()
    this.#tls?.stop()
    const server = this.#server
    if (server === undefined) return
    // Connections that never said a word have no session that could be asked to close.
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy()
    await this.#sessions.drain(deadline)
    const closed = new Promise<void>((resolve) => server.tryShutdown(() => resolve()))
    await within(deadline, GRACE_MS, closed)
    server.forceShutdown()
    for (const socket of this.#sockets) socket.destroy()
    this.#deadlines.stop()
  }

  /** What takes the streams of export calls. */
  #taker(): TakeStream {
    const { enforcement_policy: policy } = this.#config.keepalive
    const underWay = (session: ServerHttp2Session) => this.#sessions.underWay(session)
    const pings = policy && new PingPolicy(policy.min_time, policy.permit_without_stream, underWay)
    const deps: GrpcCallDeps = {
      limit: this.#limit,
      gate: this.#context.intake,
      next: this.#next,
      deadlines: this.#deadlines,
      onRequest: (call) => this.#answer(call),
      onClose: (session) => this.#sessions.delete(session),
    }
    return (stream, headers, raw) => {
      const session = stream.session as ServerHttp2Session
      this.#sessions.add(session)
      pings?.watch(session)
      new GrpcCall(session, stream, headers, raw, deps).start()
    }
  }

  #options() {
    const { server_parameters: server } = this.#config.keepalive
    return {
      'grpc.max_concurrent_streams': this.#config.max_concurrent_streams,
      'grpc-node.max_session_memory': SESSION_MIB,
      'grpc.keepalive_time_ms': server.time,
      'grpc.keepalive_timeout_ms': server.timeout,
      ...(server.max_connection_idle && { 'grpc.max_connection_idle_ms': server.max_connection_idle }),
      ...(server.max_connection_age && { 'grpc.max_connection_age_ms': server.max_connection_age }),
      ...(server.max_connection_age_grace && {
        'grpc.max_connection_age_grace_ms': server.max_connection_age_grace,
      }),
      'grpc.enable_channelz': 0,
    }
  }

  #refuseOthers(server: Server): void {
    const identity = (bytes: Buffer) => bytes
    for (const path of OTHER_SIGNALS) {
      server.register(path, this.#refuse as UntypedHandleCall, identity, identity, 'unary')
    }
  }

  /** No async function: its state took as much memory as all of a call's own. */
  #answer(call: GrpcCall): void {
    const refuse = (error: unknown): void => this.#reply(call, () => call.refuse(this.#refusalOf(error)))
    const accept = (outcome: Outcome): void => {
      try {
        const message = exportResponse(outcome, 'protobuf')
        this.#reply(call, () => call.answer(message))
      } catch (error) {
        refuse(error)
      }
    }
    try {
      this.#delivery.deliver(call.passage, call.body(), call.signal).then(accept, refuse)
    } catch (error) {
      refuse(error)
    }
  }

  /** At once or, while stopping, when the sender has heard of that. */
  #reply(call: GrpcCall, answer: () => void): void {
    call.settle()
    const heard = this.#sessions.heard(call.session)
    if (heard === undefined) this.#write(call, answer)
    else void heard.then(() => this.#write(call, answer))
  }

  /** An answer that cannot be written concerns its own stream, and nobody waits for it here. */
  #write(call: GrpcCall, answer: () => void): void {
    try {
      answer()
    } catch (error) {
      this.#context.log.error({ err: error }, 'an answer could not be written')
      call.abandon()
    }
  }

  #refusalOf(error: unknown): GrpcRefusal {
    const refusal = refusalOf(error)
    if (refusal.grpc === GRPC.INTERNAL) this.#context.log.error({ err: error }, 'request failed')
    return refusal
  }

  readonly #refuse = (unary: ServerUnaryCall<Buffer, Buffer>, reply: sendUnaryData<Buffer>): void => {
    const path = unary.getPath()
    this.#unimplemented.warn(unary.getPeer(), path)
    reply({ code: status.UNIMPLEMENTED, details: `weir takes traces only; ${path} is not implemented` })
  }
}

/** A connection that does not even begin to speak HTTP/2; afterwards keepalive and the call's own deadline watch it. */
function cutSilent(socket: Socket): void {
  const timer = setTimeout(() => {
    if (socket.bytesRead < PREFACE_BYTES) socket.destroy()
  }, PREFACE_MS)
  socket.once('close', () => clearTimeout(timer))
}
