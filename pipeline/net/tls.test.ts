import { execFileSync, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { connect as connect2 } from 'node:http2'
import { get } from 'node:https'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { serveHttp } from './http.ts'
import { ListenerPool } from './listener-pool.ts'
import { clientCertificate, serverTls, splitAltNames, TlsFront } from './tls.ts'

const hasOpenssl = spawnSync('openssl', ['version']).status === 0
let folder = ''
const at = (name: string) => join(folder, name)
const read = (name: string) => readFileSync(at(name), 'utf8')
const openssl = (...args: string[]) => execFileSync('openssl', args, { stdio: 'pipe' })

function authority(name: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`)]
  openssl('req', '-x509', ...key, '-out', at(`${name}.pem`), '-subj', `/CN=${name}`, '-days', '2')
}

function certificate(name: string, ca: string, altName: string): void {
  const key = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:P-256', '-nodes', '-keyout', at(`${name}.key`)]
  openssl('req', ...key, '-out', at(`${name}.csr`), '-subj', `/CN=${name}`)
  writeFileSync(at(`${name}.ext`), `subjectAltName=${altName}\n`)
  const signing = ['-CA', at(`${ca}.pem`), '-CAkey', at(`${ca}.key`), '-CAcreateserial', '-days', '2']
  openssl(
    'x509',
    '-req',
    '-in',
    at(`${name}.csr`),
    ...signing,
    '-extfile',
    at(`${name}.ext`),
    '-out',
    at(`${name}.pem`),
  )
}

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-tls-'))
  if (!hasOpenssl) return
  authority('ca')
  authority('other')
  certificate('server', 'ca', 'IP:127.0.0.1,DNS:localhost')
  certificate('server2', 'ca', 'IP:127.0.0.1,DNS:renewed')
  certificate('client', 'ca', 'URI:spiffe://acme/agent,DNS:agent.acme')
  certificate('stranger', 'other', 'DNS:stranger')
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const pools: ListenerPool[] = []
const fronts: TlsFront[] = []
afterEach(async () => {
  for (const front of fronts.splice(0)) front.stop()
  for (const pool of pools.splice(0)) await pool.close()
})

const files = () => ({ cert_file: at('server.pem'), key_file: at('server.key') })

/** A TLS server that says what it knows of the connection, then closes. */
async function serve(block: unknown) {
  const front = new TlsFront(serverTls.parse(block), ['h2', 'http/1.1'])
  const pool = new ListenerPool()
  fronts.push(front)
  pools.push(pool)
  await front.start((socket) => {
    socket.on('error', () => {})
    const names = clientCertificate(socket)?.subjectAltNames
    socket.end(JSON.stringify({ protocol: socket.getProtocol(), alpn: socket.alpnProtocol, names }))
  })
  const { port } = await pool.listen('127.0.0.1:0', (socket) => front.accept(socket))
  return { front, port }
}

async function dial(port: number, options: ConnectionOptions = {}) {
  const socket: TLSSocket = connect({ port, host: '127.0.0.1', ca: read('ca.pem'), ...options })
  let text = ''
  for await (const chunk of socket) text += String(chunk)
  return JSON.parse(text) as { protocol: string; alpn: string | false; names?: string[] }
}

async function peerNames(port: number): Promise<string | undefined> {
  const socket = connect({ port, host: '127.0.0.1', ca: read('ca.pem') })
  await once(socket, 'secureConnect')
  const names = socket.getPeerCertificate().subjectaltname
  socket.destroy()
  return names
}

describe.skipIf(!hasOpenssl)('TlsFront (needs the openssl command)', () => {
  it('speaks TLS 1.3 by default, 1.2 at the oldest, and ALPN', async () => {
    const { port } = await serve(files())
    expect(await dial(port, { ALPNProtocols: ['h2'] })).toMatchObject({ protocol: 'TLSv1.3', alpn: 'h2' })
    expect(await dial(port, { maxVersion: 'TLSv1.2' })).toMatchObject({ protocol: 'TLSv1.2', alpn: false })
    const old: ConnectionOptions = {
      minVersion: 'TLSv1',
      maxVersion: 'TLSv1.1',
      ciphers: 'DEFAULT@SECLEVEL=0',
    }
    await expect(dial(port, old)).rejects.toThrow(/alert|version/i)
  })

  it('keeps min_version, max_version, cipher_suites and curve_preferences', async () => {
    const newest = await serve({ ...files(), min_version: '1.3' })
    await expect(dial(newest.port, { maxVersion: 'TLSv1.2' })).rejects.toThrow(/alert|version/i)
    const suite = 'TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384'
    const picky = await serve({
      ...files(),
      max_version: '1.2',
      cipher_suites: [suite],
      curve_preferences: ['P384'],
    })
    expect((await dial(picky.port)).protocol).toBe('TLSv1.2')
    await expect(dial(picky.port, { ciphers: 'ECDHE-ECDSA-AES128-GCM-SHA256' })).rejects.toThrow(
      /alert|handshake/i,
    )
    await expect(dial(picky.port, { ecdhCurve: 'P-256' })).rejects.toThrow(/alert|handshake/i)
  })

  it('takes certificate and key as text', async () => {
    const { port } = await serve({ cert_pem: read('server.pem'), key_pem: read('server.key') })
    expect((await dial(port)).protocol).toBe('TLSv1.3')
  })

  it('demands a client certificate of client_ca_file, and tells its names', async () => {
    const { port } = await serve({ ...files(), client_ca_file: at('ca.pem') })
    const client = { cert: read('client.pem'), key: read('client.key') }
    expect((await dial(port, client)).names).toEqual(['URI:spiffe://acme/agent', 'DNS:agent.acme'])
    // TLS 1.3 clients learn of the refusal only when they read: an alert, a reset or an end without an answer.
    await expect(dial(port)).rejects.toThrow()
    const stranger = { cert: read('stranger.pem'), key: read('stranger.key') }
    await expect(dial(port, stranger)).rejects.toThrow()
  })

  it('uses a renewed certificate for new connections, and keeps the old one when the new is broken', async () => {
    writeFileSync(at('live.pem'), read('server.pem'))
    writeFileSync(at('live.key'), read('server.key'))
    const { front, port } = await serve({ cert_file: at('live.pem'), key_file: at('live.key') })
    expect(await peerNames(port)).toContain('localhost')
    expect(await front.reload()).toBe(false)
    writeFileSync(at('live.pem'), 'half a fi')
    expect(await front.reload()).toBe(false)
    expect(await peerNames(port)).toContain('localhost')
    writeFileSync(at('live.pem'), read('server2.pem'))
    writeFileSync(at('live.key'), read('server2.key'))
    expect(await front.reload()).toBe(true)
    expect(await peerNames(port)).toContain('renewed')
  })

  it.each([
    ['cert_file', 'server.pem'],
    ['key_file', 'server.key'],
    ['client_ca_file', 'ca.pem'],
  ])(
    'takes an empty %s for what it is, a file half written, at the start and when it reloads',
    async (key, name) => {
      const file = at(`half-${name}`)
      const block = { ...files(), client_ca_file: at('ca.pem'), [key]: file }
      writeFileSync(file, '')
      await expect(serve(block)).rejects.toMatchObject({
        code: 'START_FAILED',
        message: expect.stringContaining(`tls.${key}`),
      })
      writeFileSync(file, read(name))
      const { front, port } = await serve(block)
      writeFileSync(file, '\n')
      expect(await front.reload()).toBe(false)
      const client = { cert: read('client.pem'), key: read('client.key') }
      expect((await dial(port, client)).names).toContain('DNS:agent.acme')
    },
  )

  it('reads the files again by itself every reload_interval', async () => {
    writeFileSync(at('poll.pem'), read('server.pem'))
    writeFileSync(at('poll.key'), read('server.key'))
    const { port } = await serve({
      cert_file: at('poll.pem'),
      key_file: at('poll.key'),
      reload_interval: '10ms',
    })
    writeFileSync(at('poll.key'), read('server2.key'))
    writeFileSync(at('poll.pem'), read('server2.pem'))
    await expect.poll(() => peerNames(port)).toContain('renewed')
  })

  it.each([
    [{ cert_file: '/nowhere/x.pem', key_pem: 'k' }, /tls\.cert_file: cannot read \/nowhere\/x\.pem/],
    [{ cert_pem: 'not a certificate', key_pem: 'k' }, /tls\.cert_pem holds nothing in PEM form/],
    [
      { cert_pem: '-----BEGIN CERTIFICATE-----', key_pem: '-----BEGIN PRIVATE KEY-----' },
      /tls: the certificate or key is not usable/,
    ],
  ])('refuses to start with %o', async (block, message) => {
    await expect(serve(block)).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringMatching(message),
    })
  })

  it('serves HTTP/1.1 and, by ALPN, HTTP/2 on one port; a sender of plain text harms nobody', async () => {
    const pool = new ListenerPool()
    pools.push(pool)
    const tls = new TlsFront(serverTls.parse(files()), ['h2', 'http/1.1'])
    const serving = await serveHttp(
      pool,
      '127.0.0.1:0',
      (request, response) => response.end(request.httpVersion),
      { tls },
    )
    const plain = (await import('node:net')).connect(serving.port, '127.0.0.1')
    plain.on('error', () => {})
    plain.end('GET / HTTP/1.1\r\n\r\n')
    await once(plain, 'close')
    const [response] = (await once(
      get({ port: serving.port, host: '127.0.0.1', ca: read('ca.pem') }),
      'response',
    )) as [AsyncIterable<Buffer>]
    for await (const chunk of response) expect(String(chunk)).toBe('1.1')
    const session = connect2(`https://127.0.0.1:${serving.port}`, { ca: read('ca.pem') })
    const stream = session.request({ ':path': '/' })
    for await (const chunk of stream) expect(String(chunk)).toBe('2.0')
    const closed = once(session, 'close')
    await serving.stop(AbortSignal.timeout(5000))
    await closed
  })
})

describe('the tls block', () => {
  it.each([
    [{ key_file: 'k' }, 'exactly one of cert_file and cert_pem'],
    [{ cert_file: 'c', cert_pem: 'c', key_file: 'k' }, 'exactly one of cert_file and cert_pem'],
    [{ cert_file: 'c' }, 'exactly one of key_file and key_pem'],
    [{ cert_file: 'c', key_file: 'k', min_version: '1.4' }, 'expected one of'],
    [{ cert_file: 'c', key_file: 'k', clientca: 'x' }, 'clientca'],
  ])('refuses %o', (block, message) => {
    expect(serverTls.safeParse(block).error?.message).toContain(message)
  })

  it('splits alternative names, quoted ones too', () => {
    expect(splitAltNames('DNS:a.b, IP Address:127.0.0.1, URI:"x, DNS:evil"')).toEqual([
      'DNS:a.b',
      'IP Address:127.0.0.1',
      'URI:x, DNS:evil',
    ])
    expect(splitAltNames('')).toEqual([])
  })
})
