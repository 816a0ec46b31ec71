import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
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

/** notes/reliability.md section 5. */
const LIMITS = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  keepAliveTimeout: 60_000,
  connectionsCheckingInterval: 5000,
  maxHeaderSize: 16 * 1024,
}
const MAX_HEADERS = 64
const STOP_MS = 2000

export async function serveHttp(
  endpoint: string,
  listeners: Listeners,
  handler: HttpHandler,
): Promise<HttpServing> {
  const server = createServer(LIMITS, handler)
  server.maxHeadersCount = MAX_HEADERS
  // Node starts its timeout checks on 'listening'; the socket is bound by the pool, so it is said by hand.
  server.emit('listening')
  const sockets = new Set<Socket>()
  const listening = await listeners.listen(endpoint, (socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
    server.emit('connection', socket)
  })
  const stop = async (deadline: AbortSignal): Promise<void> => {
    await listening.release()
    // The server never listened itself: close() stops its timers, and its complaint means nothing.
    server.close()
    server.closeIdleConnections()
    server.on('request', (_, response: ServerResponse) => response.setHeader('connection', 'close'))
    await drained(sockets, deadline, () => server.closeIdleConnections())
    server.closeAllConnections()
  }
  let stopping: Promise<void> | undefined
  return {
    address: listening.address,
    port: listening.port,
    stop: (deadline = AbortSignal.timeout(STOP_MS)) => (stopping ??= stop(deadline)),
  }
}

const LOOK_AGAIN_MS = 20

/** Resolves when every socket is closed or at the deadline; `sweep` closes those whose answer has gone out. */
async function drained(
  sockets: ReadonlySet<Socket>,
  deadline: AbortSignal,
  sweep: () => void,
): Promise<void> {
  if (sockets.size === 0 || deadline.aborted) return
  await new Promise<void>((resolve) => {
    const done = (): void => {
      clearInterval(timer)
      resolve()
    }
    const timer = setInterval(() => {
      sweep()
      if (sockets.size === 0) done()
    }, LOOK_AGAIN_MS)
    deadline.addEventListener('abort', done, { once: true })
  })
}
