import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'

interface Link {
  readonly client: Socket
  readonly server: Socket
  /** Both ends believe in it, and nothing comes through. */
  isDead: boolean
}

/** A wire between a client and a server of this machine that can be cut, or go dead. */
export class TcpProxy {
  readonly #server: Server
  readonly #links = new Set<Link>()
  #isDead = false

  private constructor(server: Server) {
    this.#server = server
  }

  static async start(port: number): Promise<TcpProxy> {
    const server = createServer()
    const proxy = new TcpProxy(server)
    server.on('connection', (client) => proxy.#join(client, connect(port, '127.0.0.1')))
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return proxy
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Ends every connection; new ones are taken. */
  cut(): void {
    for (const { client, server } of this.#links) {
      client.destroy()
      server.destroy()
    }
  }

  /** Present connections stay open and dead for ever, as behind a router that forgot them; new ones too until `heal`. */
  die(): void {
    this.#isDead = true
    for (const link of this.#links) link.isDead = true
  }

  heal(): void {
    this.#isDead = false
  }

  async close(): Promise<void> {
    this.cut()
    this.#server.close()
    await once(this.#server, 'close')
  }

  #join(client: Socket, server: Socket): void {
    const link: Link = { client, server, isDead: this.#isDead }
    this.#links.add(link)
    this.#pass(client, server, link)
    this.#pass(server, client, link)
  }

  #pass(from: Socket, to: Socket, link: Link): void {
    from.on('data', (chunk) => {
      if (!link.isDead) to.write(chunk)
    })
    from.on('error', () => undefined)
    from.on('close', () => {
      if (!link.isDead) to.destroy()
      if (link.client.destroyed && link.server.destroyed) this.#links.delete(link)
    })
  }
}
