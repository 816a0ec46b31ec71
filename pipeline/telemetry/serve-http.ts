import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { reject } from '../fault.ts'
import type { Listeners } from '../net/listeners.ts'

/** A small HTTP/1.1 server off the data's path: metrics, health, API. */
export interface HttpServing {
  /** As bound, `host:port`. */
  readonly address: string
  readonly port: number
  /** Stops listening, lets answers under way finish until the deadline (default 2 s), then cuts. Idempotent. */
  stop(deadline?: AbortSignal): Promise<void>
}

export type HttpHandler = (request: IncomingMessage, response: ServerResponse) => void

const HEADERS_TIMEOUT_MS = 10_000
const REQUEST_TIMEOUT_MS = 30_000
const IDLE_TIMEOUT_MS = 60_000
const CHECK_EVERY_MS = 5000
const MAX_HEADER_BYTES = 16 * 1024
const MAX_HEADERS = 64
const MAX_CONNECTIONS = 256
const STOP_MS = 2000

export async function serveHttp(
  endpoint: string,
  listeners: Listeners,
  handler: HttpHandler,
): Promise<HttpServing> {
  const server = createServer(
    {
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: REQUEST_TIMEOUT_MS,
      keepAliveTimeout: IDLE_TIMEOUT_MS,
      connectionsCheckingInterval: CHECK_EVERY_MS,
      maxHeaderSize: MAX_HEADER_BYTES,
    },
    handler,
  )
  server.maxHeadersCount = MAX_HEADERS
  // Node starts its timeout checks on 'listening'; the socket is bound by the pool, so it is said by hand.
  server.emit('listening')
  let open = 0
  const listening = await listeners.listen(endpoint, (socket) => {
    if (open >= MAX_CONNECTIONS) {
      socket.destroy()
      return
    }
    open++
    socket.once('close', () => void open--)
    server.emit('connection', socket)
  })
  let stopping: Promise<void> | undefined
  return {
    address: listening.address,
    port: listening.port,
    stop: (deadline) => (stopping ??= stop(server, () => listening.release(), deadline)),
  }
}

async function stop(server: Server, release: () => Promise<void>, deadline?: AbortSignal): Promise<void> {
  await release()
  const signal = deadline ?? AbortSignal.timeout(STOP_MS)
  const cut = () => server.closeAllConnections()
  if (signal.aborted) cut()
  else signal.addEventListener('abort', cut, { once: true })
  // The server never listened itself: close() ends idle connections and its timers; its complaint means nothing.
  server.close()
  server.closeIdleConnections()
}

/** True for an address that only this machine can reach. */
export function isLoopback(endpoint: string): boolean {
  const host = endpoint.slice(0, endpoint.lastIndexOf(':')).replace(/^\[|\]$/g, '')
  return host === 'localhost' || host === '::1' || /^127(?:\.\d{1,3}){3}$/.test(host)
}

/** Refuses a server without TLS or authentication on an address that others can reach (contract section 3). */
export function requireLoopback(endpoint: string, what: string, remedy: string): void {
  if (isLoopback(endpoint)) return
  throw reject(
    'START_FAILED',
    `${what} may not listen on ${endpoint} without authentication: use 127.0.0.1, or ${remedy}`,
  )
}
