import canonicalize from 'canonicalize'
import { createHash, createHmac, createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { connect as connectTcp, type AddressInfo, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect as connectTls } from 'node:tls'
import { credentials } from '@grpc/grpc-js'
import { exportJWK, exportSPKI, generateKeyPair, SignJWT, UnsecuredJWT, type JWK } from 'jose'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ask, JSON_TYPE, PROTOBUF, RawGrpcClient, tracesRequest } from '../contract/otlp-clients.ts'
import { Certificates, hasOpenssl } from '../support/certificates.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { IdentityClient, signed, type MadeKey } from '../support/identity.ts'
import { until } from '../support/until.ts'

const MASTER = Buffer.alloc(32, 9).toString('base64')
const GRPC_PATH = '/opentelemetry.proto.collector.trace.v1.TraceService/Export'
const HTTP_PATH = '/v1/traces'
const OK = [200, 0] as const
const UNAUTHENTICATED = [401, 16] as const
const FORBIDDEN = [403, 7] as const

function configOf(auth: string, tls: string): string {
  return `receivers:
  toon: { endpoint: 127.0.0.1:0${tls} }
  otlp: { protocols: { grpc: { endpoint: 127.0.0.1:0${tls} }, http: { endpoint: 127.0.0.1:0${tls} } } }
processors:
  auth: ${auth}
exporters:
  stdout: { verbosity: basic }
extensions:
  state: { master_key: "${MASTER}" }
  api: {}
  health: {}
service:
  extensions: [state, api, health]
  pipelines:
    traces: { receivers: [otlp, toon], processors: [auth], exporters: [stdout] }
`
}

type Headers = Record<string, string | string[]>

/** What a request is made of, per transport: a signature covers the path and the body. */
interface Request {
  readonly path: string
  readonly body: Buffer
}

interface Row {
  readonly is: string
  readonly answer: readonly [http: number, grpc: number]
  readonly headers: (request: Request) => Headers | Promise<Headers>
}

const body = tracesRequest('span')

async function sendAll(daemon: Daemon, row: Row): Promise<[number, number]> {
  const port = Number(new URL(daemon.endpoints.http).port)
  const overHttp = await row.headers({ path: HTTP_PATH, body })
  const http = await ask(port, { headers: { ...PROTOBUF, ...overHttp }, body })
  // The same over toon: a run that begins.
  const start = Buffer.from('{"agent_id":"planner"}')
  const overToon = await row.headers({ path: '/v1/runs', body: start })
  const toonPort = Number(new URL(daemon.endpoints.toon).port)
  const begun = await ask(toonPort, { path: '/v1/runs', headers: { ...JSON_TYPE, ...overToon }, body: start })
  expect(begun.status === 201 ? 200 : begun.status).toBe(http.status)
  const client = new RawGrpcClient(daemon.endpoints.grpc)
  const grpc = await client.export(body, { headers: await row.headers({ path: GRPC_PATH, body }) })
  client.close()
  // Refusals say nothing of their reason.
  if (grpc.code === 16) expect(grpc.message).toBe('valid credentials are needed')
  if (grpc.code === 7) expect(grpc.message).toBe('the credentials do not allow this')
  return [http.status, grpc.code]
}

const ends: (() => unknown)[] = []
afterAll(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

describe('keys, signatures and tokens', () => {
  let daemon: Daemon
  let identity: IdentityClient
  const keys: Record<string, MadeKey> = {}
  let issuer: Issuer

  beforeAll(async () => {
    issuer = await Issuer.start()
    ends.push(() => issuer.stop())
    const jwt = `{ issuers: [{ issuer: "${issuer.url}", audience: weir, jwks_url: "${issuer.url}/jwks", algorithms: [ES256, RS256], tenant_claim: tenant }] }`
    daemon = await startDaemon({
      config: configOf(`{ methods: [api_key, hmac, jwt], jwt: ${jwt} }`, ''),
    })
    ends.push(() => daemon.stop())
    await daemon.ready()
    identity = new IdentityClient(daemon.endpoints.api)
    for (const tenant of ['acme', 'bmce', 'gone']) await identity.tenant(tenant)
    for (const kind of ['api', 'hmac']) {
      keys[`${kind} good`] = await identity.key({ kind, tenant: 'acme' })
      keys[`${kind} other`] = await identity.key({ kind, tenant: 'bmce' })
      keys[`${kind} expired`] = await identity.dyingKey({ kind, tenant: 'acme' })
      keys[`${kind} old`] = await identity.key({ kind, tenant: 'acme' })
      keys[`${kind} successor`] = await identity.rotate(keys[`${kind} old`]!.id, 3600)
      keys[`${kind} replaced`] = await identity.key({ kind, tenant: 'acme' })
      await identity.rotate(keys[`${kind} replaced`]!.id, 0)
      keys[`${kind} gone`] = await identity.key({ kind, tenant: 'gone' })
      keys[`${kind} revoked`] = await identity.key({ kind, tenant: 'acme' })
      await identity.revoke(keys[`${kind} revoked`]!.id)
    }
    keys['api reader'] = await identity.key({ tenant: 'acme', roles: ['read'] })
    await identity.call('PATCH', '/v1/tenants/gone', { status: 'disabled' })
    await until(async () => {
      const { keys: all } = (await identity.call('GET', '/v1/keys')) as { keys: { status: string }[] }
      return all.filter(({ status }) => status === 'expired').length === 4
    })
  })

  const key = (name: string): MadeKey => {
    const found = keys[name]
    if (found === undefined) throw new Error(`there is no key ${name}`)
    return found
  }
  const bearer = (token: string): Headers => ({ authorization: `Bearer ${token}` })
  const api = (name: string) => () => bearer(key(`api ${name}`).secret)
  const altered = (text: string) => text.replace(/.$/, (last) => (last === '0' ? '1' : '0'))

  const none: Row[] = [
    { is: 'nothing', answer: UNAUTHENTICATED, headers: () => ({}) },
    {
      is: 'a tenant header only',
      answer: UNAUTHENTICATED,
      headers: () => ({ 'x-tenant-id': 'acme', 'x-scope-orgid': 'acme' }),
    },
    {
      is: 'another scheme',
      answer: UNAUTHENTICATED,
      headers: () => ({ authorization: 'Basic YWNtZTphY21l' }),
    },
  ]

  const apiKey: Row[] = [
    { is: 'valid', answer: OK, headers: api('good') },
    { is: 'valid, as X-API-Key', answer: OK, headers: () => ({ 'x-api-key': key('api good').secret }) },
    { is: 'valid again', answer: OK, headers: api('good') },
    { is: 'expired', answer: UNAUTHENTICATED, headers: api('expired') },
    { is: 'wrong secret', answer: UNAUTHENTICATED, headers: () => bearer(altered(key('api good').secret)) },
    {
      is: 'unknown id',
      answer: UNAUTHENTICATED,
      headers: () => bearer(`weir_live_nobody_${'0'.repeat(64)}`),
    },
    {
      is: "another tenant's secret under this id",
      answer: UNAUTHENTICATED,
      headers: () => bearer(`weir_live_${key('api good').id}_${key('api other').secret.slice(-64)}`),
    },
    {
      is: "another tenant's name beside it",
      answer: OK,
      headers: () => ({ ...bearer(key('api good').secret), 'x-tenant-id': 'bmce' }),
    },
    { is: 'of a disabled tenant', answer: FORBIDDEN, headers: api('gone') },
    { is: 'revoked', answer: UNAUTHENTICATED, headers: api('revoked') },
    { is: 'rotated, within the overlap', answer: OK, headers: api('old') },
    { is: 'its successor', answer: OK, headers: api('successor') },
    { is: 'rotated, after the overlap', answer: UNAUTHENTICATED, headers: api('replaced') },
    { is: 'malformed', answer: UNAUTHENTICATED, headers: () => bearer(key('api good').secret.slice(0, -1)) },
    { is: 'without the role', answer: FORBIDDEN, headers: api('reader') },
    {
      is: 'the header twice',
      answer: UNAUTHENTICATED,
      headers: () => ({ 'x-api-key': [key('api good').secret, key('api good').secret] }),
    },
    {
      is: 'two keys',
      answer: UNAUTHENTICATED,
      headers: () => ({ ...bearer(key('api good').secret), 'x-api-key': key('api other').secret }),
    },
    {
      is: 'an HMAC secret as a key',
      answer: UNAUTHENTICATED,
      headers: () => bearer(key('hmac good').secret),
    },
  ]

  const sign =
    (name: string, tenant = 'acme', more: object = {}) =>
    (request: Request): Headers =>
      signed({ key: key(`hmac ${name}`), tenant, ...request, ...more })
  /** Signed now, with a time that many ms from now. */
  const signAt = (fromNowMs: number) => (request: Request) =>
    sign('good', 'acme', { atMs: Date.now() + fromNowMs })(request)
  const replayed = new Map<string, Headers>()

  const hmac: Row[] = [
    { is: 'valid', answer: OK, headers: sign('good') },
    { is: 'valid, 4 minutes old', answer: OK, headers: signAt(-240_000) },
    { is: 'stale', answer: UNAUTHENTICATED, headers: signAt(-302_000) },
    { is: 'from the future', answer: UNAUTHENTICATED, headers: signAt(330_000) },
    { is: 'by an expired secret', answer: UNAUTHENTICATED, headers: sign('expired') },
    {
      is: 'by a wrong secret',
      answer: UNAUTHENTICATED,
      headers: (r) =>
        signed({ key: { ...key('hmac good'), secret: key('hmac other').secret }, tenant: 'acme', ...r }),
    },
    { is: 'for another tenant', answer: UNAUTHENTICATED, headers: sign('good', 'bmce') },
    { is: 'by a revoked secret', answer: UNAUTHENTICATED, headers: sign('revoked') },
    { is: 'of a disabled tenant', answer: FORBIDDEN, headers: sign('gone', 'gone') },
    { is: 'by a rotated secret within the overlap', answer: OK, headers: sign('old') },
    { is: 'by its successor', answer: OK, headers: sign('successor') },
    { is: 'by a rotated secret after the overlap', answer: UNAUTHENTICATED, headers: sign('replaced') },
    {
      is: 'sent first',
      answer: OK,
      headers: (r) => {
        const made = sign('good')(r)
        replayed.set(r.path, made)
        return made
      },
    },
    { is: 'replayed', answer: UNAUTHENTICATED, headers: ({ path }) => replayed.get(path) ?? {} },
    {
      is: 'for another path',
      answer: UNAUTHENTICATED,
      headers: (r) => sign('good')({ ...r, path: '/elsewhere' }),
    },
    { is: 'for another method', answer: UNAUTHENTICATED, headers: sign('good', 'acme', { method: 'PUT' }) },
    {
      is: 'for another body',
      answer: UNAUTHENTICATED,
      headers: (r) => sign('good')({ ...r, body: tracesRequest('other') }),
    },
    {
      is: 'malformed signature',
      answer: UNAUTHENTICATED,
      headers: (r) => ({ ...sign('good')(r), 'x-weir-signature': 'v1=00' }),
    },
    { is: 'malformed nonce', answer: UNAUTHENTICATED, headers: sign('good', 'acme', { nonce: 'short' }) },
    { is: 'no nonce', answer: UNAUTHENTICATED, headers: (r) => ({ ...sign('good')(r), 'x-weir-nonce': '' }) },
    {
      is: 'a header twice',
      answer: UNAUTHENTICATED,
      headers: (r) => {
        const made = sign('good')(r)
        return { ...made, 'x-weir-signature': [String(made['x-weir-signature']), 'v1=00'] }
      },
    },
    {
      is: 'signed with an API key',
      answer: UNAUTHENTICATED,
      headers: (r) => signed({ key: key('api good'), tenant: 'acme', ...r }),
    },
    {
      is: "another tenant's key beside it",
      answer: FORBIDDEN,
      headers: (r) => ({ ...sign('good')(r), ...bearer(key('api other').secret) }),
    },
    {
      is: 'a revoked key beside it',
      answer: UNAUTHENTICATED,
      headers: (r) => ({ ...sign('good')(r), ...bearer(key('api revoked').secret) }),
    },
  ]

  const now = () => Math.floor(Date.now() / 1000)
  const token = (make: () => Promise<string>) => async (): Promise<Headers> => bearer(await make())
  const jwt: Row[] = [
    { is: 'valid', answer: OK, headers: token(() => issuer.token({ tenant: 'acme' })) },
    {
      is: 'valid, RSA',
      answer: OK,
      headers: token(() => issuer.token({ tenant: 'acme' }, { key: 'rsa', alg: 'RS256' })),
    },
    {
      is: 'expired',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', exp: now() - 120 })),
    },
    {
      is: 'without an end',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', exp: undefined })),
    },
    {
      is: 'good for a day',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', exp: now() + 86_400 })),
    },
    {
      is: 'not yet good',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', nbf: now() + 600 })),
    },
    {
      is: 'by a wrong key under a known id',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme' }, { key: 'stranger', kid: 'ec' })),
    },
    {
      is: 'for another audience',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', aud: 'other' })),
    },
    {
      is: 'by another issuer',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme', iss: 'https://idp.example' })),
    },
    {
      is: 'for a tenant that is not there',
      answer: FORBIDDEN,
      headers: token(() => issuer.token({ tenant: 'nobody' })),
    },
    { is: 'for no tenant', answer: FORBIDDEN, headers: token(() => issuer.token({})) },
    {
      is: 'for a tenant like a method',
      answer: FORBIDDEN,
      headers: token(() => issuer.token({ tenant: '__proto__' })),
    },
    {
      is: 'revoked: its tenant is disabled',
      answer: FORBIDDEN,
      headers: token(() => issuer.token({ tenant: 'gone' })),
    },
    {
      is: 'by a key that the issuer has rotated in',
      answer: OK,
      headers: token(() => {
        issuer.publish('rotated')
        return issuer.token({ tenant: 'acme' }, { key: 'rotated' })
      }),
    },
    { is: 'malformed', answer: UNAUTHENTICATED, headers: () => bearer('eyJhbGciOiJFUzI1NiJ9.e30') },
    { is: 'huge', answer: UNAUTHENTICATED, headers: () => bearer(`eyJ${'a'.repeat(6000)}.e30.x`) },
    {
      is: 'algorithm none',
      answer: UNAUTHENTICATED,
      headers: token(async () =>
        new UnsecuredJWT({ tenant: 'acme', exp: now() + 60, iss: issuer.url, aud: 'weir' }).encode(),
      ),
    },
    {
      is: 'HS256 with the public key as its secret',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.confused()),
    },
    {
      is: 'an algorithm that is not allowed',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme' }, { key: 'rsa', alg: 'PS256' })),
    },
    {
      is: 'a key of its own in the header',
      answer: UNAUTHENTICATED,
      headers: token(() => issuer.token({ tenant: 'acme' }, { key: 'stranger', kid: 'own', embed: true })),
    },
    {
      is: 'beside an API key of the same tenant',
      answer: OK,
      headers: async () => ({
        ...bearer(await issuer.token({ tenant: 'acme' })),
        'x-api-key': key('api good').secret,
      }),
    },
    {
      is: 'beside an API key of another',
      answer: FORBIDDEN,
      headers: async () => ({
        ...bearer(await issuer.token({ tenant: 'acme' })),
        'x-api-key': key('api other').secret,
      }),
    },
  ]

  const table = { none, 'API key': apiKey, HMAC: hmac, JWT: jwt }
  for (const [method, rows] of Object.entries(table)) {
    it.each(rows)(`${method}: $is → $answer`, async (row) => {
      expect(await sendAll(daemon, row)).toEqual(row.answer)
    })
  }

  it('refuses the Authorization header twice', async () => {
    const port = Number(new URL(daemon.endpoints.http).port)
    const twice = [`Bearer ${key('api good').secret}`, `Bearer ${key('api other').secret}`]
    const answer = await ask(port, { headers: { ...PROTOBUF, authorization: twice }, body })
    expect(answer.status).toBe(401)
    const [host = '', grpcPort = ''] = daemon.endpoints.grpc.split(':')
    const once = twice.slice(0, 1)
    expect(await bareGrpc(host, Number(grpcPort), once)).toBe('0')
    expect(await bareGrpc(host, Number(grpcPort), twice)).toBe('16')
  })

  it("takes an event's own signature by its tenant's secret, over the event as it was written, and no other", async () => {
    const headers = { ...JSON_TYPE, ...bearer(key('api good').secret) }
    const port = Number(new URL(daemon.endpoints.toon).port)
    const post = async (path: string, value: object) =>
      ask(port, {
        path,
        headers,
        body: Buffer.from(JSON.stringify(value)),
      })
    expect((await post('/v1/runs', { run_id: 'signed', agent_id: 'planner' })).status).toBe(201)
    const event = {
      type: 'reasoning',
      payload: { thought: 'ü', plan: '' },
      actor: 'agent',
      t: '2026-01-01T00:00:00.50+01:00',
      meta: { run_id: 'signed', step: 1 },
    }
    const by = (name: string, what: object = event) =>
      createHmac('sha256', key(`hmac ${name}`).secret)
        .update(canonicalize(what) ?? '')
        .digest('hex')
    const send = (signature: string) =>
      post('/v1/runs/signed/events', { ...event, meta: { ...event.meta, signature } })
    expect(
      await send(by('good')).then(({ status, body: text }) => [status, status === 202 ? '' : String(text)]),
    ).toEqual([202, ''])
    for (const bad of [by('other'), by('revoked'), by('good', { ...event, actor: 'user' }), 'nonsense']) {
      const answer = await send(bad)
      expect([answer.status, String(answer.body)]).toEqual([401, expect.stringContaining('meta.signature')])
    }
  })

  it('counts decisions by method and outcome, and says nothing of secrets in its log', async () => {
    const page = await daemon.metrics()
    const count = (method: string, outcome: string) =>
      page.sum('weir_auth', `method="${method}",outcome="${outcome}"`)
    expect(count('api_key', 'accepted')).toBeGreaterThan(0)
    // Twice alone, twice beside a good signature.
    expect(count('api_key', 'revoked')).toBe(6)
    expect(count('hmac', 'replayed')).toBe(3)
    expect(count('hmac', 'body')).toBe(3)
    expect(count('jwt', 'algorithm')).toBeGreaterThanOrEqual(4)
    expect(count('none', 'missing')).toBeGreaterThan(0)
    for (const { secret } of Object.values(keys)) expect(daemon.log()).not.toContain(secret.slice(-64))
  })
})

describe.skipIf(!hasOpenssl)('client certificates (needs the openssl command)', () => {
  let daemon: Daemon
  let files: Certificates

  beforeAll(async () => {
    const folder = mkdtempSync(join(tmpdir(), 'weir-mtls-'))
    ends.push(() => rmSync(folder, { recursive: true }))
    files = new Certificates(folder)
    files.authority('ca')
    files.authority('otherca')
    files.certificate('server', 'ca', 'IP:127.0.0.1')
    const names = ['san', 'spki', 'unbound', 'revoked', 'expired', 'gone', 'rotated']
    for (const name of names) files.certificate(name, 'ca', `URI:spiffe://weir/${name},DNS:${name}.example`)
    files.certificate('stranger', 'otherca', 'URI:spiffe://weir/san')
    files.certificate('past', 'ca', 'URI:spiffe://weir/san', -1)
    const at = (name: string) => files.at(name)
    const tls = `, tls: { cert_file: ${at('server.pem')}, key_file: ${at('server.key')}, client_ca_file: ${at('ca.pem')} }`
    daemon = await startDaemon({ config: configOf('{ methods: [mtls, api_key] }', tls) })
    ends.push(() => daemon.stop())
    await daemon.ready()
    const identity = new IdentityClient(daemon.endpoints.api)
    for (const tenant of ['acme', 'bmce', 'gone']) await identity.tenant(tenant)
    const bind = (san: string, tenant = 'acme') => ({
      kind: 'certificate',
      tenant,
      san: `URI:spiffe://weir/${san}`,
    })
    await identity.key(bind('san'))
    await identity.key({ kind: 'certificate', tenant: 'acme', spki_sha256: spki(files, 'spki') })
    await identity.revoke((await identity.key(bind('revoked'))).id)
    await identity.revoke((await identity.key(bind('rotated'))).id)
    await identity.key(bind('rotated'))
    await identity.dyingKey(bind('expired'))
    await identity.key(bind('gone', 'gone'))
    await identity.call('PATCH', '/v1/tenants/gone', { status: 'disabled' })
    await expect(identity.key(bind('san', 'bmce'))).rejects.toThrow(/409/)
    await until(async () => {
      const { keys } = (await identity.call('GET', '/v1/keys')) as { keys: { status: string }[] }
      return keys.some(({ status }) => status === 'expired')
    })
  })

  async function withCertificate(name: string | undefined, headers: Headers = {}) {
    const ca = files.read('ca.pem')
    const own = name === undefined ? {} : { cert: files.read(`${name}.pem`), key: files.read(`${name}.key`) }
    const port = Number(new URL(daemon.endpoints.http).port)
    const http = await ask(port, { headers: { ...PROTOBUF, ...headers }, body, tls: { ca, ...own } }).then(
      ({ status }) => status,
      () => 'no connection' as const,
    )
    const [certificate, privateKey] =
      name === undefined ? [null, null] : [Buffer.from(own.cert ?? ''), Buffer.from(own.key ?? '')]
    const client = new RawGrpcClient(
      daemon.endpoints.grpc,
      credentials.createSsl(Buffer.from(ca), privateKey, certificate),
    )
    const grpc = await client.export(body, { headers, deadlineMs: 3000 })
    client.close()
    return [http, grpc.code]
  }

  /** gRPC says UNAVAILABLE for a connection that did not come about, or the deadline ends it. */
  const NO_CONNECTION = [
    'no connection',
    expect.toSatisfy((code: number) => code === 14 || code === 4),
  ] as const

  it.each([
    ['bound by its name', 'san', OK],
    ['bound by its public key', 'spki', OK],
    ['bound to nobody', 'unbound', UNAUTHENTICATED],
    ['revoked', 'revoked', UNAUTHENTICATED],
    ['bound again after a revocation', 'rotated', OK],
    ['whose binding has expired', 'expired', UNAUTHENTICATED],
    ['of a disabled tenant', 'gone', FORBIDDEN],
    ['that is past its own end', 'past', NO_CONNECTION],
    ['with a bound name, by another authority', 'stranger', NO_CONNECTION],
    ['none at all', undefined, NO_CONNECTION],
  ] as const)('a certificate %s', async (_, name, answer) => {
    expect(await withCertificate(name)).toEqual(answer)
  })

  it('and a server certificate that is replaced is used from the next SIGHUP on, by every receiver', async () => {
    const { grpc, http, toon } = daemon.endpoints
    const ports = [Number(grpc.split(':')[1]), Number(new URL(http).port), Number(new URL(toon).port)]
    const client = new RawGrpcClient(
      grpc,
      credentials.createSsl(
        ...[files.read('ca.pem'), files.read('san.key'), files.read('san.pem')].map((text) =>
          Buffer.from(text),
        ),
      ),
    )
    expect((await client.export(body)).code).toBe(0)
    const before = await Promise.all(ports.map((port) => serverNames(files, port)))
    expect(before).toEqual(['IP Address:127.0.0.1', 'IP Address:127.0.0.1', 'IP Address:127.0.0.1'])
    files.certificate('server', 'ca', 'IP:127.0.0.1,DNS:renewed')
    process.kill(daemon.pid, 'SIGHUP')
    for (const port of ports)
      await until(async () => (await serverNames(files, port)).includes('DNS:renewed'))
    expect((await client.export(body)).code).toBe(0)
    client.close()
    expect(daemon.log()).toContain('TLS certificate reloaded')
  })

  it('and a key: both for one tenant, or nobody', async () => {
    const identity = new IdentityClient(daemon.endpoints.api)
    const own = await identity.key({ tenant: 'acme' })
    const other = await identity.key({ tenant: 'bmce' })
    const bearer = ({ secret }: MadeKey) => ({ authorization: `Bearer ${secret}` })
    await until(async () => (await withCertificate('unbound', bearer(other)))[0] === 200)
    expect(await withCertificate('san', bearer(own))).toEqual(OK)
    expect(await withCertificate('san', bearer(other))).toEqual(FORBIDDEN)
    expect(await withCertificate('san', { 'x-tenant-id': 'bmce' })).toEqual(OK)
  })
})

/** One HEADERS field by hand (RFC 7541 section 6.2.2, new name, no Huffman): node:http2 sends no header twice. */
function field(name: string, value: string): Buffer {
  return Buffer.concat([
    Buffer.from([0, name.length]),
    Buffer.from(name),
    Buffer.from([value.length]),
    Buffer.from(value),
  ])
}

/** A frame (RFC 9113 section 4.1). */
function frame(type: number, flags: number, stream: number, payload: Uint8Array): Buffer {
  const head = Buffer.alloc(9)
  head.writeUIntBE(payload.length, 0, 3)
  head.writeUInt8(type, 3)
  head.writeUInt8(flags, 4)
  head.writeUInt32BE(stream, 5)
  return Buffer.concat([head, payload])
}

/** A call with these `authorization` fields on a bare socket; resolves with its grpc-status. */
async function bareGrpc(host: string, port: number, authorization: readonly string[]): Promise<string> {
  const socket = connectTcp(port, host)
  const fields = [
    field(':method', 'POST'),
    field(':scheme', 'http'),
    field(':path', GRPC_PATH),
    field(':authority', host),
    field('te', 'trailers'),
    field('content-type', 'application/grpc'),
    ...authorization.map((value) => field('authorization', value)),
  ]
  const message = Buffer.concat([Buffer.alloc(5), body])
  message.writeUInt32BE(body.length, 1)
  const [settings, headers, data] = [
    frame(4, 0, 0, Buffer.alloc(0)),
    frame(1, 4, 1, Buffer.concat(fields)),
    frame(0, 1, 1, message),
  ]
  socket.write(Buffer.concat([Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'), settings, headers, data]))
  try {
    return await statusIn(socket)
  } finally {
    socket.destroy()
  }
}

/** Reads up to the trailers' grpc-status, in whichever way nghttp2 has coded it. */
async function statusIn(socket: Socket): Promise<string> {
  let received = Buffer.alloc(0)
  for await (const chunk of socket as AsyncIterable<Buffer>) {
    received = Buffer.concat([received, chunk])
    const status = statusOf(received)
    if (status !== undefined) return status
  }
  throw new Error('the connection ended without a status')
}

const STATUS_NAME = huffman('grpc-status')
/** Codes of the digits (RFC 7541 appendix B): 0, 1, 2 have five bits, 6 has six. */
const DIGITS: Readonly<Record<string, string>> = { '0': '00000', '1': '00001', '6': '011100' }

function huffman(text: string): string {
  const codes: Readonly<Record<string, string>> = {
    g: '100110',
    r: '101100',
    p: '101011',
    c: '00100',
    '-': '010110',
    s: '01000',
    t: '01001',
    a: '00011',
    u: '101101',
  }
  return Array.from(text, (char) => codes[char]).join('')
}

function statusOf(received: Buffer): string | undefined {
  const name = bytesOf(STATUS_NAME)
  const at = received.indexOf(name)
  if (at < 0) return undefined
  const length = received[at + name.length] ?? 0
  const value = received.subarray(at + name.length + 1, at + name.length + 1 + (length & 0x7f))
  if ((length & 0x80) === 0) return value.toString()
  return ['0', '16'].find((text) =>
    bytesOf(Array.from(text, (digit) => DIGITS[digit]).join('')).equals(value),
  )
}

/** Padded with ones to whole bytes. */
function bytesOf(bits: string): Buffer {
  const whole = bits.padEnd(Math.ceil(bits.length / 8) * 8, '1')
  return Buffer.from(whole.match(/.{8}/g)?.map((byte) => Number.parseInt(byte, 2)) ?? [])
}

async function serverNames(files: Certificates, port: number): Promise<string> {
  const own = { ca: files.read('ca.pem'), cert: files.read('san.pem'), key: files.read('san.key') }
  const socket = connectTls({ host: '127.0.0.1', port, ALPNProtocols: ['h2'], ...own })
  await once(socket, 'secureConnect')
  const { subjectaltname } = socket.getPeerCertificate()
  socket.destroy()
  return subjectaltname ?? ''
}

function spki(files: Certificates, name: string): string {
  const { publicKey } = new X509Certificate(files.read(`${name}.pem`))
  return createHash('sha256')
    .update(publicKey.export({ type: 'spki', format: 'der' }))
    .digest('hex')
}

type KeyPairs = ReadonlyMap<string, Awaited<ReturnType<typeof generateKeyPair>>>

/** An identity provider with keys `ec`, `rsa`, later `rotated`; `stranger` is nobody's. */
class Issuer {
  readonly url: string
  readonly #server: Server
  readonly #keys: KeyPairs
  readonly #published: JWK[] = []

  private constructor(server: Server, keys: KeyPairs) {
    this.#server = server
    this.#keys = keys
    this.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
    server.on('request', (_, response) => response.end(JSON.stringify({ keys: this.#published })))
  }

  static async start(): Promise<Issuer> {
    const keys = new Map<string, Awaited<ReturnType<typeof generateKeyPair>>>()
    for (const name of ['ec', 'rotated', 'stranger'])
      keys.set(name, await generateKeyPair('ES256', { extractable: true }))
    keys.set('rsa', await generateKeyPair('RS256', { extractable: true }))
    const server = createServer()
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const issuer = new Issuer(server, keys)
    for (const name of ['ec', 'rsa', 'rotated'])
      issuer.#jwks.set(name, await exportJWK(issuer.#pair(name).publicKey))
    issuer.publish('ec')
    issuer.publish('rsa')
    // What must be ignored: a secret in the published set.
    issuer.#published.push({ kty: 'oct', kid: 'oct', k: Buffer.from('secret').toString('base64url') })
    return issuer
  }

  readonly #jwks = new Map<string, JWK>()

  publish(name: string): void {
    const jwk = this.#jwks.get(name)
    if (jwk !== undefined && !this.#published.some(({ kid }) => kid === name))
      this.#published.push({ ...jwk, kid: name })
  }

  async token(
    claims: Record<string, unknown>,
    {
      key = 'ec',
      alg = 'ES256',
      kid = key,
      embed = false,
    }: { key?: string; alg?: string; kid?: string; embed?: boolean } = {},
  ): Promise<string> {
    const pair = this.#pair(key)
    const all = {
      iss: this.url,
      aud: 'weir',
      sub: 'agent',
      exp: Math.floor(Date.now() / 1000) + 600,
      ...claims,
    }
    const given = JSON.parse(JSON.stringify(all)) as Record<string, unknown>
    const header = { alg, kid, ...(embed && { jwk: await exportJWK(pair.publicKey) }) }
    // A key object signs by any algorithm of its type.
    const privateKey = createPrivateKey({ key: (await exportJWK(pair.privateKey)) as never, format: 'jwk' })
    return new SignJWT(given).setProtectedHeader(header).sign(privateKey)
  }

  /** Signed by HMAC with what everybody knows. */
  async confused(): Promise<string> {
    const pem = await exportSPKI(createPublicKey({ key: this.#jwks.get('rsa') as never, format: 'jwk' }))
    const claims = { iss: this.url, aud: 'weir', tenant: 'acme', exp: Math.floor(Date.now() / 1000) + 600 }
    return new SignJWT(claims).setProtectedHeader({ alg: 'HS256', kid: 'rsa' }).sign(Buffer.from(pem))
  }

  async stop(): Promise<void> {
    this.#server.close()
    this.#server.closeAllConnections()
  }

  #pair(name: string) {
    const pair = this.#keys.get(name)
    if (pair === undefined) throw new Error(`there is no key ${name}`)
    return pair
  }
}
