import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { once } from 'node:events'
import { messageOf, reject } from '../fault.ts'
import type { Log } from '../telemetry/log.ts'
import { formatEndpoint, parseEndpoint } from './endpoint.ts'
import type { Listeners, Listening } from './listeners.ts'

export interface ListenerPoolOptions {
  /** Open connections per endpoint; further ones are closed at once. */
  readonly maxConnections?: number
  /** Connections per endpoint that wait for the next owner during a reload; further ones are closed. */
  readonly maxWaiting?: number
  readonly log?: Log
}

const TELL_EVERY_MS = 10_000

type OnConnection = (socket: Socket) => void

/** One bound socket. It has an owner, or waits for one while a reload is under way. */
interface Bound {
  readonly requested: string
  readonly address: string
  readonly port: number
  readonly server: Server
  readonly waiting: Set<Socket>
  owner: OnConnection | undefined
  /** The owner came during the present reload: a second claim is a conflict, not a hand-over. */
  claimed: boolean
}

/**
 * The daemon's bound sockets. They outlive the components that use them: between `beginReload` and `endReload` a
 * released endpoint stays bound and its new connections wait for the next owner, so that a reload refuses nobody.
 */
export class ListenerPool implements Listeners {
  readonly #maxConnections: number
  readonly #maxWaiting: number
  readonly #log: Log | undefined
  readonly #bound = new Set<Bound>()
  #reloading = false
  #drops = 0
  #toldMs = -Infinity

  constructor(options: ListenerPoolOptions = {}) {
    this.#maxConnections = options.maxConnections ?? 2000
    this.#maxWaiting = options.maxWaiting ?? 1024
    this.#log = options.log
  }

  /** From now on a released endpoint stays bound, and an owned one may be taken over once. */
  beginReload(): void {
    this.#reloading = true
    for (const bound of this.#bound) bound.claimed = false
  }

  /** Closes what nobody claimed. */
  async endReload(): Promise<void> {
    this.#reloading = false
    const unclaimed = [...this.#bound].filter((bound) => bound.owner === undefined)
    await Promise.all(unclaimed.map((bound) => this.#close(bound)))
  }

  /** Unbinds everything. Connections that owners hold are theirs to end. */
  async close(): Promise<void> {
    this.#reloading = false
    await Promise.all([...this.#bound].map((bound) => this.#close(bound)))
  }

  async listen(endpoint: string, onConnection: OnConnection): Promise<Listening> {
    const bound = this.#claim(endpoint) ?? (await this.#bind(endpoint))
    bound.claimed = this.#reloading
    bound.owner = onConnection
    for (const socket of bound.waiting) {
      bound.waiting.delete(socket)
      if (!socket.destroyed) onConnection(socket)
    }
    const release = () => this.#release(bound, onConnection)
    return { address: bound.address, port: bound.port, release }
  }

  /** The bound socket that `endpoint` may take over, if any. Port 0 names a socket only after its release. */
  #claim(endpoint: string): Bound | undefined {
    const { port } = parseEndpoint(endpoint)
    for (const bound of this.#bound) {
      if (bound.requested !== endpoint && bound.address !== endpoint) continue
      if (bound.owner === undefined) return bound
      if (port === 0) continue
      if (this.#reloading && !bound.claimed) return bound
      throw reject(
        'START_FAILED',
        `cannot listen on ${endpoint}: another component of this daemon uses it; give one of them another endpoint`,
      )
    }
    return undefined
  }

  async #bind(endpoint: string): Promise<Bound> {
    const { host, port } = parseEndpoint(endpoint)
    const server = createServer({ noDelay: true })
    server.maxConnections = this.#maxConnections
    try {
      server.listen(host === '' ? { port } : { port, host })
      await once(server, 'listening')
    } catch (error) {
      throw reject('START_FAILED', `cannot listen on ${endpoint}: ${remedy(error)}`, { cause: error })
    }
    const at = server.address() as AddressInfo
    const bound: Bound = {
      requested: endpoint,
      address: formatEndpoint(at.address, at.port),
      port: at.port,
      server,
      waiting: new Set(),
      owner: undefined,
      claimed: false,
    }
    this.#bound.add(bound)
    server.on('connection', (socket) => this.#accept(bound, socket))
    // Out of file descriptors and the like: the connection is lost, the endpoint is not.
    server.on('error', (error) => this.#log?.warn({ endpoint, error: messageOf(error) }, 'accept failed'))
    server.on('drop', () => this.#dropped(endpoint))
    return bound
  }

  /** Those who drop connections in must not fill the disk with words about it. */
  #dropped(endpoint: string): void {
    this.#drops++
    if (performance.now() - this.#toldMs < TELL_EVERY_MS) return
    this.#toldMs = performance.now()
    const fields = { endpoint, limit: this.#maxConnections, refused: this.#drops }
    this.#log?.warn(fields, 'too many connections')
    this.#drops = 0
  }

  #accept(bound: Bound, socket: Socket): void {
    if (bound.owner !== undefined) {
      bound.owner(socket)
      return
    }
    if (bound.waiting.size >= this.#maxWaiting) {
      socket.destroy()
      return
    }
    socket.on('error', () => {})
    socket.once('close', () => bound.waiting.delete(socket))
    bound.waiting.add(socket)
  }

  async #release(bound: Bound, owner: OnConnection): Promise<void> {
    if (bound.owner !== owner) return
    bound.owner = undefined
    if (!this.#reloading) await this.#close(bound)
  }

  /** Resolves when the port is free. `close` of a net.Server also waits for its connections, which we must not. */
  async #close(bound: Bound): Promise<void> {
    if (!this.#bound.delete(bound)) return
    bound.owner = undefined
    for (const socket of bound.waiting) socket.destroy()
    bound.server.close()
  }
}

function remedy(error: unknown): string {
  const code = (error as NodeJS.ErrnoException).code
  if (code === 'EADDRINUSE') return 'another program uses the port; stop it or set another endpoint'
  if (code === 'EACCES') return 'not permitted; use a port of 1024 or above, or grant CAP_NET_BIND_SERVICE'
  if (code === 'EADDRNOTAVAIL' || code === 'ENOTFOUND')
    return 'this machine has no such address; set another endpoint'
  return messageOf(error)
}
