import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { ListenerPool } from './listener-pool.ts'
import { serveHttp, type HttpHandler, type HttpOptions } from './http.ts'

const cleanups: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function serve(handler: HttpHandler, options: HttpOptions = {}) {
  const pool = new ListenerPool()
  const serving = await serveHttp(pool, '127.0.0.1:0', handler, options)
  cleanups.push(async () => {
    await serving.stop(AbortSignal.timeout(100))
    await pool.close()
  })
  return serving
}

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.on('error', () => undefined)
  cleanups.push(() => void socket.destroy())
  return socket
}

describe('a slow sender', () => {
  it.each([
    ['says nothing', ''],
    ['stops within the request line', 'GE'],
    ['stops within the headers', 'GET / HTTP/1.1\r\nHost: x\r\nA: '],
  ])('that %s is cut off', async (_, bytes) => {
    const { port } = await serve((_request, response) => void response.end(), { readHeaderTimeoutMs: 500 })
    const socket = dial(port)
    socket.write(bytes)
    socket.resume()
    await once(socket, 'close')
    expect((await fetch(`http://127.0.0.1:${port}`)).status).toBe(200)
  })

  it('that trickles its body is cut off though its handler waits for ever', async () => {
    const { port } = await serve((request) => void request.resume(), {
      readHeaderTimeoutMs: 50,
      readTimeoutMs: 100,
    })
    const socket = dial(port)
    socket.write('POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n')
    const drip = setInterval(() => socket.write('x'), 20)
    socket.resume()
    await once(socket, 'close')
    clearInterval(drip)
  })

  it('that does not read its answer is cut off, and who reads it is not', async () => {
    const large = Buffer.alloc(32 * 1024 * 1024, 'x')
    let ended = false
    const handler: HttpHandler = (request, response) => {
      if (request.url === '/slow') response.once('close', () => (ended = true))
      response.end(large)
    }
    const { port } = await serve(handler, { writeTimeoutMs: 150 })
    const socket = dial(port)
    socket.pause()
    socket.write('GET /slow HTTP/1.1\r\nHost: x\r\n\r\n')
    const other = await fetch(`http://127.0.0.1:${port}`)
    expect((await other.arrayBuffer()).byteLength).toBe(large.length)
    // Reading on, it finds what was in the buffers and then the end.
    await expect.poll(() => ended).toBe(true)
    let got = 0
    socket.on('data', (chunk: Buffer) => (got += chunk.length)).resume()
    await once(socket, 'close')
    expect(got).toBeLessThan(large.length)
  })
})

describe('requests that proxies and servers read differently', () => {
  const HOST = 'POST / HTTP/1.1\r\nHost: x\r\n'
  it.each([
    [
      'Content-Length and Transfer-Encoding',
      `${HOST}Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`,
    ],
    ['two Content-Lengths', `${HOST}Content-Length: 3\r\nContent-Length: 4\r\n\r\nabcd`],
    ['a Content-Length that is a list', `${HOST}Content-Length: 3, 3\r\n\r\nabc`],
    ['a negative Content-Length', `${HOST}Content-Length: -1\r\n\r\n`],
    ['chunked not last', `${HOST}Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n`],
    ['a chunk size that is no number', `${HOST}Transfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n`],
    ['space before the colon', `${HOST}Content-Length : 3\r\n\r\nabc`],
    ['NUL in a header', `${HOST}A: b\0c\r\n\r\n`],
    ['a header without a name', `${HOST}: x\r\n\r\n`],
    ['a method nobody has', 'FROB / HTTP/1.1\r\nHost: x\r\n\r\n'],
    ['HTTP/2 without TLS', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'],
    ['headers over 16 KiB', `${HOST}A: ${'x'.repeat(17_000)}\r\n\r\n`],
  ])('%s: refused, closed, and never handled', async (_, bytes) => {
    let handled = 0
    const { port } = await serve((request, response) => {
      handled++
      request.resume().once('end', () => response.end())
      request.once('error', () => undefined)
    })
    const socket = dial(port)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    // A second request behind it must not be smuggled through.
    socket.write(`${bytes}GET /smuggled HTTP/1.1\r\nHost: x\r\n\r\n`)
    await once(socket, 'close')
    expect(text).toMatch(/^HTTP\/1\.1 4\d\d /)
    expect(text.match(/HTTP\/1\.1 /g)).toHaveLength(1)
    expect(text).not.toContain(' 200 ')
    // A chunked body is only seen to be broken once it is read.
    expect(handled).toBeLessThanOrEqual(bytes.includes('0x3') || bytes.includes('chunked, identity') ? 1 : 0)
  })

  it.each([
    ['no Host', 'GET / HTTP/1.1\r\n\r\n', 400],
    [
      '65 headers',
      `GET / HTTP/1.1\r\nHost: x\r\n${Array.from({ length: 64 }, (_, i) => `h${i}: x\r\n`).join('')}\r\n`,
      431,
    ],
  ])('%s: refused and closed', async (_, bytes, status) => {
    const { port } = await serve((_request, response) => void response.end())
    const socket = dial(port)
    let text = ''
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('latin1')))
    socket.write(bytes)
    await once(socket, 'close')
    expect(text).toMatch(new RegExp(`^HTTP/1.1 ${status} `))
  })
})
