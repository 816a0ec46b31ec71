import {
  createServer as createHttp1,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import { createServer as createHttp2, type Http2Server, type ServerHttp2Session } from 'node:http2'
import type { Socket } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Listeners, Listening } from './listeners.ts'
import type { TlsFront } from './tls.ts'
import { within } from './within.ts'

/** Serves HTTP/1.1, and HTTP/2 where ALPN chose it: there the compatibility API, minus what HTTP/2 has not. */
export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void

export interface HttpOptions {
  readonly tls?: TlsFront | undefined
  readonly readHeaderTimeoutMs?: number
  /** For a request to arrive whole; a handler that wants to answer a slow body itself must be quicker. */
  readonly readTimeoutMs?: number
  readonly idleTimeoutMs?: number
  /** For the sender to take its answer, once that is complete; as much again for every MiB of it. */
  readonly writeTimeoutMs?: number
  /** The body of an answer to what is not even HTTP, or too slow or too big in its headers. */
  readonly clientError?: (status: number, message: string) => { readonly type: string; readonly body: string }
}

export interface HttpServing {
  /** As bound, `host:port`. */
  readonly address: string
  readonly port: number
  /**
   * Takes no new connections, answers what is under way with `Connection: close`, and cuts what is left at the
   * deadline. Idempotent.
   */
  stop(deadline: AbortSignal): Promise<void>
  /** Reads the certificates again, for new connections. */
  refresh(): Promise<void>
}

/** notes/reliability.md section 5. */
const HEADER_TIMEOUT_MS = 10_000
const READ_TIMEOUT_MS = 30_000
const IDLE_TIMEOUT_MS = 60_000
const WRITE_TIMEOUT_MS = 30_000
const CHECK_EVERY_MS = 5000
const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADERS = 64
const MIB = 1024 * 1024
const HTTP2 = {
  maxSessionMemory: 8,
  streamResetBurst: 200,
  streamResetRate: 20,
  settings: { maxConcurrentStreams: 128, maxHeaderListSize: MAX_HEADER_BYTES },
}
/** How long idle connections may still bring a request while stopping: a sender may have one on the wire. */
const GRACE_MS = 200

export async function serveHttp(
  listeners: Listeners,
  endpoint: string,
  handler: HttpHandler,
  options: HttpOptions = {},
): Promise<HttpServing> {
  const server = new InjectedHttp(handler, options)
  await options.tls?.start((socket) => server.secure(socket))
  try {
    const listening = await listeners.listen(endpoint, (socket) => server.accept(socket))
    return {
      address: listening.address,
      port: listening.port,
      stop: (deadline) => server.stop(listening, deadline),
      async refresh() {
        await options.tls?.reload()
      },
    }
  } catch (error) {
    options.tls?.stop()
    throw error
  }
}

/** HTTP servers that never listen: their sockets come from the listener pool. */
class InjectedHttp {
  readonly #http1: Server
  readonly #http2: Http2Server
  readonly #tls: TlsFront | undefined
  readonly #sockets = new Set<Socket>()
  readonly #sessions = new Set<ServerHttp2Session>()
  /** With the time by which each must be taken, once it is complete. */
  readonly #underWay = new Map<ServerResponse, number | undefined>()
  readonly #writeTimeoutMs: number
  readonly #sweep: NodeJS.Timeout
  #stopping: Promise<void> | undefined

  constructor(handler: HttpHandler, options: HttpOptions) {
    const headersTimeout = options.readHeaderTimeoutMs ?? HEADER_TIMEOUT_MS
    this.#writeTimeoutMs = options.writeTimeoutMs ?? WRITE_TIMEOUT_MS
    this.#sweep = setInterval(() => this.#cutSlow(), Math.min(CHECK_EVERY_MS, this.#writeTimeoutMs)).unref()
    const tracked: HttpHandler = (request, response) => {
      this.#track(response)
      if (request.rawHeaders.length <= 2 * MAX_HEADERS) handler(request, response)
      else refuseHeaders(response, options.clientError)
    }
    this.#http1 = createHttp1({
      headersTimeout,
      requestTimeout: Math.max(options.readTimeoutMs ?? READ_TIMEOUT_MS, headersTimeout),
      keepAliveTimeout: options.idleTimeoutMs ?? IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: Math.min(CHECK_EVERY_MS, Math.max(headersTimeout / 2, 10)),
      maxHeaderSize: MAX_HEADER_BYTES,
    })
    this.#http1.on('request', tracked)
    // The handler says 100 Continue when it wants the body, or refuses without it.
    this.#http1.on('checkContinue', tracked)
    this.#http1.on('clientError', (error, socket) =>
      answerClientError(error, socket as Socket, options.clientError),
    )
    // Node starts its timeout checks on 'listening'; the pool's socket listens, so it is said by hand.
    this.#http1.emit('listening')
    this.#http2 = createHttp2(HTTP2)
    const tracked2 = tracked as unknown as Parameters<typeof createHttp2>[1] & {}
    this.#http2.on('request', tracked2)
    this.#http2.on('checkContinue', tracked2)
    this.#http2.on('session', (session) =>
      this.#trackSession(session, options.idleTimeoutMs ?? IDLE_TIMEOUT_MS),
    )
    this.#http2.on('sessionError', () => {})
    this.#tls = options.tls
  }

  accept(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (this.#tls !== undefined) {
      this.#tls.accept(socket)
      return
    }
    // HTTP/1.1 answers a sender that has closed its side after the request.
    socket.allowHalfOpen = true
    this.#http1.emit('connection', socket)
  }

  secure(socket: TLSSocket): void {
    const server = socket.alpnProtocol === 'h2' ? this.#http2 : this.#http1
    server.emit('connection', socket)
  }

  stop(listening: Listening, deadline: AbortSignal): Promise<void> {
    this.#stopping ??= this.#drain(listening, deadline)
    return this.#stopping
  }

  async #drain(listening: Listening, deadline: AbortSignal): Promise<void> {
    await listening.release()
    this.#tls?.stop()
    for (const response of this.#underWay.keys()) refuseKeepAlive(response)
    for (const session of this.#sessions) session.close()
    await this.#empty(deadline, GRACE_MS)
    this.#endSilent()
    await this.#empty(deadline)
    for (const socket of this.#sockets) socket.destroy()
    clearInterval(this.#sweep)
    this.#http1.close()
  }

  /** Resolves when the last connection is gone, or after `ms`. */
  #empty(deadline: AbortSignal, ms?: number): Promise<void> {
    const closed = [...this.#sockets].map((socket) => new Promise((resolve) => socket.once('close', resolve)))
    return within(deadline, ms, Promise.all(closed))
  }

  #endSilent(): void {
    this.#http1.closeIdleConnections()
    for (const socket of this.#sockets) if (socket.bytesRead === 0) socket.destroy()
  }

  #track(response: ServerResponse): void {
    this.#underWay.set(response, undefined)
    if (this.#stopping !== undefined) refuseKeepAlive(response)
    response.once('close', () => this.#underWay.delete(response))
  }

  /** A sender that does not take its answer must not keep the daemon holding it. */
  #cutSlow(): void {
    const now = performance.now()
    for (const [response, untilMs] of this.#underWay) {
      const { socket } = response
      if (!response.writableEnded || socket === null) continue
      const allowedMs = this.#writeTimeoutMs * (1 + socket.writableLength / MIB)
      if (untilMs === undefined) this.#underWay.set(response, now + allowedMs)
      else if (now >= untilMs) socket.destroy()
    }
  }

  #trackSession(session: ServerHttp2Session, idleTimeoutMs: number): void {
    this.#sessions.add(session)
    session.once('close', () => this.#sessions.delete(session))
    session.on('error', () => {})
    session.setTimeout(idleTimeoutMs, () => session.close())
    if (this.#stopping !== undefined) session.close()
  }
}

/** HTTP/2 has no such header; there the session's GOAWAY says it. */
function refuseKeepAlive(response: ServerResponse): void {
  if (!response.headersSent && response.req.httpVersionMajor === 1) response.setHeader('connection', 'close')
}

/** Node would take the first 2000 and leave the rest away without a word. */
function refuseHeaders(response: ServerResponse, render: HttpOptions['clientError']): void {
  const { type, body } = rendered(431, `more than ${MAX_HEADERS} headers`, render)
  refuseKeepAlive(response)
  response.writeHead(431, { 'content-type': type, 'content-length': Buffer.byteLength(body) })
  response.end(body)
}

function rendered(status: number, message: string, render: HttpOptions['clientError']) {
  return render?.(status, message) ?? { type: 'text/plain', body: `${message}\n` }
}

const CLIENT_ERRORS: Readonly<Record<string, readonly [status: number, reason: string, message: string]>> = {
  HPE_HEADER_OVERFLOW: [
    431,
    'Request Header Fields Too Large',
    `the headers are over ${MAX_HEADER_BYTES} bytes`,
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [408, 'Request Timeout', 'the request took too long to arrive'],
}

function answerClientError(error: Error, socket: Socket, render: HttpOptions['clientError']): void {
  const code = (error as NodeJS.ErrnoException).code ?? ''
  // An answer under way must not get a second one in its middle.
  const busy = (socket as Socket & { _httpMessage?: ServerResponse | null })._httpMessage?.headersSent
  if (!socket.writable || busy || code === 'ECONNRESET') {
    socket.destroy()
    return
  }
  const [status, reason, message] = CLIENT_ERRORS[code] ?? [400, 'Bad Request', 'this is not an HTTP request']
  const { type, body } = rendered(status, message, render)
  const head = `HTTP/1.1 ${status} ${reason}\r\nContent-Type: ${type}\r\nContent-Length: ${Buffer.byteLength(body)}`
  socket.end(`${head}\r\nConnection: close\r\n\r\n${body}`)
  socket.destroySoon()
}
