import { randomInt } from 'node:crypto'
import { createServer, type Server } from 'node:net'

/** Below what systems give to outgoing connections (Linux from 32768, others from 49152), above what services use. */
export const PORTS = { from: 16_384, to: 32_768 }
const TRIES = 100

/** Given to somebody of this process, whose server may be down for a moment. */
const given = new Set<number>()

/**
 * Loopback ports that were free a moment ago, for a process that is started with them (demo, bench, tests). No connection
 * of anybody takes one while that process is down, and this process gives none twice.
 */
export async function freePorts(count: number, { from, to } = PORTS): Promise<number[]> {
  const servers = new Map<number, Server>()
  for (let tries = 0; servers.size < count; tries++) {
    const port = randomInt(from, to)
    if (given.has(port)) continue
    try {
      servers.set(port, await bound(port))
      given.add(port)
    } catch (error) {
      if (tries >= TRIES) throw error
    }
  }
  await Promise.all(Array.from(servers.values(), (server) => new Promise((resolve) => server.close(resolve))))
  return [...servers.keys()]
}

function bound(port: number): Promise<Server> {
  const server = createServer()
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.listen(port, '127.0.0.1', () => resolve(server))
  })
}
