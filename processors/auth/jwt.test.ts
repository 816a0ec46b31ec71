import { generateKeyPairSync } from 'node:crypto'
import { createServer } from 'node:http'
import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { exportJWK, generateKeyPair, SignJWT, type JWK } from 'jose'
import pino from 'pino'
import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import type { Head } from '../../pipeline/admission.ts'
import { NOBODY_KNOWN } from '../../pipeline/identity/view.ts'
import { config } from './config.ts'
import { JwtMethod } from './jwt.ts'

const identity = {
  ...NOBODY_KNOWN,
  tenant: (id: string) => ({ v: 1, id, name: '', tier: 'free', status: 'active', created_ms: 0 }) as const,
}
const MINUTE_S = 60
const HOUR_S = 3600
const GOOD = { tenant: 'acme', principal: 'jwt:me' }

let issuer: Issuer
beforeEach(async () => {
  issuer = await Issuer.start()
})
afterEach(() => {
  vi.useRealTimers()
  return issuer.stop()
})

/** An identity provider with one key, which it may replace. */
class Issuer {
  readonly #server = createServer((_, response) => response.end(JSON.stringify({ keys: this.#published })))
  #published: JWK[] = []
  #sign: (token: SignJWT) => Promise<string> = () => Promise.reject(new Error('it has no key'))

  static async start(): Promise<Issuer> {
    const made = new Issuer()
    made.#server.listen(0, '127.0.0.1')
    await once(made.#server, 'listening')
    await made.renew()
    return made
  }

  async renew(): Promise<void> {
    const { publicKey, privateKey } = await generateKeyPair('ES256')
    const kid = String(Math.random())
    this.#published = [{ ...(await exportJWK(publicKey)), kid }]
    this.#sign = (token) => token.setProtectedHeader({ alg: 'ES256', kid }).sign(privateKey)
  }

  publish(...keys: JWK[]): void {
    this.#published = keys
  }

  method(more: object = {}): JwtMethod {
    const { port } = this.#server.address() as AddressInfo
    const one = { issuer: 'idp', audience: 'weir', tenant: 'acme', jwks_url: `http://127.0.0.1:${port}/` }
    const { jwt } = config.parse({ jwt: { issuers: [{ ...one, ...more }] } })
    return new JwtMethod(jwt, identity, pino({ level: 'silent' }))
  }

  token(claims: { readonly iat?: number; readonly exp: number }): Promise<string> {
    return this.#sign(new SignJWT({ iss: 'idp', aud: 'weir', sub: 'me', ...claims }))
  }

  async stop(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
  }
}

function bearing(token: string): Head {
  const header = (name: string) => (name === 'authorization' ? [`Bearer ${token}`] : [])
  return { transport: 'http', peer: '', method: 'POST', path: '/', tls: false, header }
}

describe('tokens', () => {
  it('are good for max_lifetime from when they were issued, however little of it is left', async () => {
    const nowMs = Date.now()
    const now = Math.floor(nowMs / 1000)
    const method = issuer.method()
    const judge = async (iat: number | undefined, exp: number) =>
      method.judge(bearing(await issuer.token({ ...(iat !== undefined && { iat }), exp })), nowMs)
    expect(await judge(now - MINUTE_S, now + MINUTE_S)).toMatchObject(GOOD)
    expect(await judge(now, now + HOUR_S)).toMatchObject(GOOD)
    expect(await judge(undefined, now + HOUR_S)).toMatchObject(GOOD)
    expect(await judge(undefined, now + 2 * HOUR_S)).toEqual({ denial: 'lifetime' })
    expect(await judge(now - 23 * HOUR_S, now + MINUTE_S)).toEqual({ denial: 'lifetime' })
  })
})

describe('the keys of an issuer', () => {
  it.each([
    ['too short', generateKeyPairSync('rsa', { modulusLength: 1024 }).publicKey.export({ format: 'jwk' })],
    ['damaged', { kty: 'RSA', n: '', e: 'AQAB' }],
    ['none at all', { kty: 'EC', crv: 'P-256', x: 1, y: {} }],
  ])('that are %s let nobody in, and are no error of ours', async (_, jwk) => {
    const alg = jwk.kty === 'RSA' ? 'RS256' : 'ES256'
    issuer.publish({ ...jwk, kid: 'odd' } as JWK)
    const part = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
    const exp = Math.floor(Date.now() / 1000) + MINUTE_S
    const token = `${part({ alg, kid: 'odd' })}.${part({ iss: 'idp', aud: 'weir', exp })}.${'A'.repeat(86)}`
    const judged = await issuer.method().judge(bearing(token), Date.now())
    expect(judged).toMatchObject({ denial: expect.stringMatching(/wrong|malformed/) })
  })

  it('are not used past cache_duration when they can be had, not even once', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const exp = Math.floor(Date.now() / 1000) + HOUR_S
    const method = issuer.method()
    const stolen = await issuer.token({ exp })
    expect(await method.judge(bearing(stolen), Date.now())).toMatchObject({ tenant: 'acme' })
    await issuer.renew()
    vi.advanceTimersByTime(11 * MINUTE_S * 1000)
    expect(await method.judge(bearing(stolen), Date.now())).toMatchObject({ denial: 'wrong' })
  })

  it('that are new let all in who come while they are fetched, and right after', async () => {
    const exp = Math.floor(Date.now() / 1000) + HOUR_S
    const method = issuer.method()
    expect(await method.judge(bearing(await issuer.token({ exp })), Date.now())).toMatchObject(GOOD)
    await issuer.renew()
    const token = await issuer.token({ exp })
    const judged = await Promise.all(
      Array.from({ length: 4 }, () => method.judge(bearing(token), Date.now())),
    )
    expect(judged).toMatchObject([GOOD, GOOD, GOOD, GOOD])
  })

  it('go on while it does not answer', async () => {
    vi.useFakeTimers({ toFake: ['performance'] })
    const exp = Math.floor(Date.now() / 1000) + HOUR_S
    const method = issuer.method()
    const token = await issuer.token({ exp })
    expect(await method.judge(bearing(token), Date.now())).toMatchObject({ tenant: 'acme' })
    await issuer.stop()
    vi.advanceTimersByTime(11 * MINUTE_S * 1000)
    expect(await method.judge(bearing(token), Date.now())).toMatchObject({ tenant: 'acme' })
    issuer = await Issuer.start()
  })
})
