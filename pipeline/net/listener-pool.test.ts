import { connect, createServer, type AddressInfo, type Socket } from 'node:net'
import { once } from 'node:events'
import { createServer as createHttpServer, get } from 'node:http'
import { afterEach, describe, expect, it } from 'vitest'
import { ListenerPool } from './listener-pool.ts'
import { checkExposure } from './loopback.ts'

let pool = new ListenerPool()
afterEach(async () => {
  await pool.close()
  pool = new ListenerPool()
})

const greet = (word: string) => (socket: Socket) => void socket.end(word)

async function greeting(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return text
}

async function connected(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket
}

describe('ListenerPool', () => {
  it('gives connections to the owner and frees the port on release', async () => {
    const listening = await pool.listen('127.0.0.1:0', greet('one'))
    expect(listening.address).toBe(`127.0.0.1:${listening.port}`)
    expect(await greeting(listening.port)).toBe('one')
    await listening.release()
    await listening.release()
    await expect(greeting(listening.port)).rejects.toThrow('ECONNREFUSED')
    const again = await pool.listen(listening.address, greet('two'))
    expect(await greeting(again.port)).toBe('two')
  })

  it('names the endpoint and the remedy when another program holds the port', async () => {
    const holder = createServer().listen(0, '127.0.0.1')
    await once(holder, 'listening')
    const endpoint = `127.0.0.1:${(holder.address() as AddressInfo).port}`
    await expect(pool.listen(endpoint, greet('x'))).rejects.toMatchObject({
      code: 'START_FAILED',
      verdict: { do: 'reject' },
      message: `cannot listen on ${endpoint}: another program uses the port; stop it or set another endpoint`,
    })
    holder.close()
  })

  it('refuses a second component on the same endpoint', async () => {
    const { address } = await pool.listen('127.0.0.1:0', greet('one'))
    await expect(pool.listen(address, greet('two'))).rejects.toThrow('another component of this daemon')
  })

  it('lets connections wait for the next owner during a reload', async () => {
    const first = await pool.listen('127.0.0.1:0', greet('old'))
    pool.beginReload()
    await first.release()
    const waiting = await connected(first.port)
    waiting.write('early bytes')
    const answer = once(waiting, 'data')
    const echo = (socket: Socket) =>
      void socket.once('data', (chunk) => socket.end(`new got ${String(chunk)}`))
    await pool.listen(first.address, echo)
    expect(String((await answer)[0])).toBe('new got early bytes')
    await pool.endReload()
  })

  it('serves HTTP on a connection that waited with its request already sent', async () => {
    const first = await pool.listen('127.0.0.1:0', greet('old'))
    pool.beginReload()
    await first.release()
    const accepted = new Promise((resolve) => get({ port: first.port }, resolve))
    await connected(first.port)
    const server = createHttpServer((_, response) => response.end('ok'))
    await pool.listen(first.address, (socket) => void server.emit('connection', socket))
    await pool.endReload()
    expect(await accepted).toMatchObject({ statusCode: 200 })
  })

  it('takes an endpoint over from an owner that has not released yet, once per reload', async () => {
    const first = await pool.listen('127.0.0.1:0', greet('old'))
    pool.beginReload()
    await pool.listen(first.address, greet('new'))
    await expect(pool.listen(first.address, greet('third'))).rejects.toThrow(
      'another component of this daemon',
    )
    await first.release()
    await pool.endReload()
    expect(await greeting(first.port)).toBe('new')
  })

  it('closes what nobody claimed when the reload ends, its waiting connections included', async () => {
    const first = await pool.listen('127.0.0.1:0', greet('old'))
    pool.beginReload()
    await first.release()
    const waiting = await connected(first.port)
    waiting.on('error', () => {})
    const closed = once(waiting, 'close')
    await pool.endReload()
    await closed
    await expect(greeting(first.port)).rejects.toThrow('ECONNREFUSED')
  })

  it('bounds the connections that wait', async () => {
    pool = new ListenerPool({ maxWaiting: 1 })
    const first = await pool.listen('127.0.0.1:0', greet('old'))
    pool.beginReload()
    await first.release()
    await connected(first.port)
    const surplus = connect(first.port, '127.0.0.1')
    surplus.on('error', () => {})
    await once(surplus, 'close')
    let greeted = 0
    await pool.listen(first.address, (socket) => {
      greeted++
      socket.destroy()
    })
    expect(greeted).toBe(1)
  })
})

describe('checkExposure', () => {
  const open = { component: 'otlp', tls: false, authenticated: false, insecureBind: false }

  it.each(['0.0.0.0:4317', ':4317', '[::]:4317', '10.0.0.1:4317', 'collector.internal:4317'])(
    'refuses %s without TLS or auth',
    (endpoint) => {
      expect(() => checkExposure({ ...open, endpoint })).toThrow(`endpoint ${endpoint} is reachable`)
      for (const key of ['tls', 'authenticated', 'insecureBind']) {
        checkExposure({ ...open, endpoint, [key]: true })
      }
    },
  )

  it.each(['127.0.0.1:4317', 'localhost:1', '[::1]:4317', '127.9.9.9:1'])('allows %s', (endpoint) => {
    checkExposure({ ...open, endpoint })
  })
})
