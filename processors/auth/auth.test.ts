import { createHash, createHmac } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import canonicalize from 'canonicalize'
import * as fc from 'fast-check'
import pino from 'pino'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import type { Head } from '../../pipeline/admission.ts'
import { Fault } from '../../pipeline/fault.ts'
import { IdentityCache } from '../../pipeline/identity/cache.ts'
import { Directory } from '../../pipeline/identity/directory.ts'
import { Keyring, type NewKey } from '../../pipeline/identity/keyring.ts'
import { Vault } from '../../pipeline/identity/vault.ts'
import { Secret } from '../../pipeline/secret.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { JetStreamState } from '../../pipeline/state/jetstream.ts'
import { stateKey, type StateStore } from '../../pipeline/state/state.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { NatsServer } from '../../test/nats.ts'
import { signed, type MadeKey, type ToSign } from '../../test/support/identity.ts'
import { timed } from '../../test/support/timed.ts'
import { until } from '../../test/support/until.ts'
import { AuthProcessor } from './auth.ts'
import { config } from './config.ts'
import { Nonces } from './nonces.ts'

const log = pino({ level: 'silent' })
const vault = new Vault(new Secret('ab'.repeat(32)))
const PATH = '/v1/traces'
const body = Buffer.from('a body')
const sha256 = createHash('sha256').update(body).digest()

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
})

/** What a daemon has of one state store; `clock.ms` is ahead of real time. */
class Site {
  readonly clock = { ms: 0 }
  readonly identity: IdentityCache
  readonly keyring: Keyring
  readonly directory: Directory
  readonly state: StateStore

  private constructor(state: StateStore) {
    this.state = state
    this.identity = new IdentityCache(state, log)
    this.directory = new Directory(state, Date.now)
    this.keyring = new Keyring(state, this.directory, vault, Date.now)
  }

  static async on(state: StateStore): Promise<Site> {
    const site = new Site(state)
    await site.identity.start()
    ends.push(() => site.identity.stop())
    return site
  }

  async auth(
    settings: object,
    vaultOfIt: Vault | undefined = vault,
    lines?: string[],
  ): Promise<AuthProcessor> {
    const processor = new AuthProcessor(config.parse(settings), {
      id: 'auth',
      identity: this.identity,
      state: this.state,
      vault: vaultOfIt,
      clock: () => Date.now() + this.clock.ms,
      log:
        lines === undefined
          ? log
          : pino({ level: 'info' }, { write: (line: string) => void lines.push(line) }),
      meter: createMeter(),
    })
    await processor.start()
    ends.push(() => processor.stop())
    return processor
  }

  async key(wanted: Partial<NewKey> = {}): Promise<MadeKey> {
    if (this.identity.tenant('acme') === undefined) await this.directory.createTenant('acme', {})
    const { key, secret = '' } = await this.keyring.create({
      kind: 'hmac',
      tenant: 'acme',
      roles: ['ingest'],
      ...wanted,
    })
    await until(() => this.identity.key(key.id) !== undefined)
    return { id: key.id, secret }
  }
}

async function embedded(): Promise<{ site: Site; directory: string }> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-auth-'))
  ends.push(() => rm(directory, { recursive: true }))
  return { site: await Site.on(await opened(directory)), directory }
}

async function opened(directory: string): Promise<StateStore> {
  const state = new EmbeddedState(directory)
  await state.open()
  ends.push(() => state.close())
  return state
}

function headOf(headers: Record<string, string | readonly string[]>, more: Partial<Head> = {}): Head {
  return {
    transport: 'http',
    peer: '127.0.0.1:9',
    method: 'POST',
    path: PATH,
    tls: false,
    header: (name) => [headers[name] ?? []].flat(),
    ...more,
  }
}

const sign = (key: MadeKey, more: Partial<ToSign> = {}) =>
  headOf(signed({ key, tenant: 'acme', path: PATH, body, ...more }))
const code = (wanted: string) => expect.objectContaining({ code: wanted })

describe('nonces', () => {
  it('are good once, in two daemons and after a restart, on one embedded store', async () => {
    const { site, directory } = await embedded()
    const key = await site.key()
    const [one, two] = [await site.auth({ methods: ['hmac'] }), await site.auth({ methods: ['hmac'] })]
    const request = sign(key)
    const answers = await Promise.allSettled([one, two, one, two].map((auth) => auth.admit(request)))
    expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const later = await Site.on(await opened(directory))
    const restarted = await later.auth({ methods: ['hmac'] })
    await expect(restarted.admit(request)).rejects.toEqual(code('UNAUTHENTICATED'))
    await expect(restarted.admit(sign(key))).resolves.toMatchObject({ tenant: 'acme' })
  })

  it('leave no trace once no signature is good any more, and never sooner', async () => {
    const { site } = await embedded()
    const key = await site.key()
    const auth = await site.auth({ methods: ['hmac'], hmac: { max_age: '10m' } })
    const request = sign(key)
    await auth.admit(request)
    const nonces = () => site.state.list(stateKey('nonce'))
    for (let minutes = 0; minutes < 15; minutes++) {
      site.clock.ms = minutes * 60_000
      await (await site.auth({ methods: ['hmac'] })).stop()
      await expect(auth.admit(request)).rejects.toEqual(code('UNAUTHENTICATED'))
    }
    site.clock.ms = 45 * 60_000
    await site.auth({ methods: ['hmac'] })
    await until(async () => (await nonces()).length === 0)
  })

  it('of a flood leave those of others their share', async () => {
    const { site } = await embedded()
    const nonces = new Nonces(site.state, log, Date.now, 30)
    let count = 0
    const use = (tenant: string) => nonces.use({ tenant, id: 'k' }, Date.now(), String(count++))
    for (let n = 0; n < 30; n++) await use('flood')
    await expect(use('flood')).rejects.toEqual(code('RATE_LIMITED'))
    for (let n = 0; n < 15; n++) expect(await use('acme')).toBe(true)
    await expect(use('acme')).rejects.toEqual(code('RATE_LIMITED'))
    await expect(use('flood')).rejects.toEqual(code('RATE_LIMITED'))
  })

  it('are not used up by who does not know the secret', async () => {
    const { site } = await embedded()
    const key = await site.key()
    const auth = await site.auth({ methods: ['hmac'] })
    const nonce = 'a-nonce-that-is-known'
    const forged = sign({ ...key, secret: 'guess' }, { nonce })
    await expect(auth.admit(forged)).rejects.toEqual(code('UNAUTHENTICATED'))
    expect(await site.state.list(stateKey('nonce'))).toEqual([])
    await expect(auth.admit(sign(key, { nonce }))).resolves.toMatchObject({ principal: `key:${key.id}` })
  })
})

describe('nonces and revocation over one JetStream', () => {
  let server: NatsServer
  beforeAll(async () => {
    server = await NatsServer.start()
  })
  afterAll(() => server.stop())

  async function daemon(): Promise<Site> {
    const state = new JetStreamState({ nats: { servers: [server.url] }, bucket: 'weir', replicas: 1, log })
    await state.open()
    ends.push(() => state.close())
    return Site.on(state)
  }

  it('a request is good once, a revocation acts everywhere, and a silent store lets nobody in', async () => {
    const [here, there] = [await daemon(), await daemon()]
    const key = await here.key()
    await until(() => there.identity.key(key.id) !== undefined)
    const [one, two] = [await here.auth({ methods: ['hmac'] }), await there.auth({ methods: ['hmac'] })]
    for (let n = 0; n < 20; n++) {
      const request = sign(key)
      const answers = await Promise.allSettled([one.admit(request), two.admit(request)])
      expect(answers.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    }
    const { ms, lateMs } = await timed(async () => {
      await here.keyring.revoke(key.id)
      await until(() =>
        two.admit(sign(key)).then(
          () => false,
          () => true,
        ),
      )
    })
    expect(ms).toBeLessThan(5000 + lateMs)
    await server.kill()
    await until(() =>
      two.admit(sign(key)).then(
        () => false,
        (error: unknown) => (error as Fault).code === 'STATE_UNAVAILABLE',
      ),
    )
    await server.start()
  })
})

describe('what else is judged', () => {
  it('checks the body against the signed digest, before anybody inflates it', async () => {
    const { site } = await embedded()
    const admission = await (await site.auth({ methods: ['hmac'] })).admit(sign(await site.key()))
    expect(() => admission.verify?.(sha256)).not.toThrow()
    expect(() => admission.verify?.(Buffer.alloc(32))).toThrow(code('UNAUTHENTICATED'))
  })

  it("checks an event's signature by every secret of its tenant in force, and by no other", async () => {
    const { site } = await embedded()
    const [old, next] = [await site.key(), await site.key()]
    await site.directory.createTenant('bmce', {})
    const other = await site.key({ tenant: 'bmce' })
    const auth = await site.auth({ methods: ['api_key', 'hmac'] })
    const { secret } = await site.key({ kind: 'api' })
    const admission = await auth.admit(headOf({ authorization: `Bearer ${secret}` }))
    const verifyEvent = (text: Uint8Array, signature: string) => admission.verifyEvent?.(text, signature)
    const event = { type: 'error', seq: 1, payload: { message: 'ü', error_type: 'E' }, meta: { run_id: 'r' } }
    const bytes = Buffer.from(canonicalize(event) ?? '')
    const by = (key: MadeKey, encoding: 'hex' | 'base64' = 'hex') =>
      createHmac('sha256', key.secret).update(bytes).digest(encoding)
    for (const good of [by(old), by(next), by(next, 'base64'), `sha256=${by(next)}`]) {
      expect(() => verifyEvent(bytes, good)).not.toThrow()
    }
    for (const bad of [by(other), '', 'x', by(next).slice(2), by(next, 'base64').slice(4)]) {
      expect(() => verifyEvent(bytes, bad)).toThrow(code('UNAUTHENTICATED'))
    }
    expect(() => verifyEvent(Buffer.from('{}'), by(next))).toThrow(code('UNAUTHENTICATED'))
    await site.keyring.revoke(old.id)
    await until(() => site.identity.key(old.id)?.revoked_ms !== undefined)
    expect(() => verifyEvent(bytes, by(old))).toThrow(code('UNAUTHENTICATED'))
  })

  it('asks for every method with require: all, of one tenant and project', async () => {
    const { site } = await embedded()
    const auth = await site.auth({ methods: ['api_key', 'hmac'], require: 'all' })
    const secret = await site.key()
    for (const id of ['shop', 'search']) await site.directory.createProject('acme', id, {})
    const shop = await site.key({ kind: 'api', project: 'shop' })
    const both = (key: MadeKey, signing: MadeKey) =>
      headOf({ ...signed({ key: signing, tenant: 'acme', path: PATH, body }), 'x-api-key': key.secret })
    await expect(auth.admit(sign(secret))).rejects.toEqual(code('UNAUTHENTICATED'))
    await expect(auth.admit(headOf({ 'x-api-key': shop.secret }))).rejects.toEqual(code('UNAUTHENTICATED'))
    await expect(auth.admit(both(shop, secret))).resolves.toMatchObject({ tenant: 'acme', project: 'shop' })
    const elsewhere = await site.key({ project: 'search' })
    await expect(auth.admit(both(shop, elsewhere))).rejects.toEqual(code('PERMISSION_DENIED'))
  })

  it('lets files pass as they are, and asks senders to come again when the master key is not there', async () => {
    const { site } = await embedded()
    const key = await site.key()
    const blind = await site.auth({ methods: ['hmac'] }, new Vault(new Secret('cd'.repeat(32))))
    expect(await blind.admit(headOf({}, { transport: 'file' }))).toEqual({})
    await expect(blind.admit(sign(key))).rejects.toMatchObject({
      code: 'AUTH_UNAVAILABLE',
      verdict: { do: 'retry' },
    })
  })

  it("checks an event's signature by the secrets that can be opened, and else asks to come again without saying why", async () => {
    const { site } = await embedded()
    const { secret } = await site.key({ kind: 'api' })
    const lost = new Keyring(site.state, site.directory, new Vault(new Secret('cd'.repeat(32))), Date.now)
    const { key: sealed } = await lost.create({ kind: 'hmac', tenant: 'acme', roles: ['ingest'] })
    await until(() => site.identity.key(sealed.id) !== undefined)
    const lines: string[] = []
    const auth = await site.auth({ methods: ['api_key', 'hmac'] }, vault, lines)
    const admission = await auth.admit(headOf({ authorization: `Bearer ${secret}` }))
    const bytes = Buffer.from('{}')
    const good = await site.key()
    const signature = createHmac('sha256', good.secret).update(bytes).digest('hex')
    expect(() => admission.verifyEvent?.(bytes, signature)).not.toThrow()
    for (let n = 0; n < 5; n++) {
      expect(() => admission.verifyEvent?.(Buffer.from('[]'), signature)).toThrow(
        expect.objectContaining({
          code: 'AUTH_UNAVAILABLE',
          verdict: expect.objectContaining({ do: 'retry' }),
          message: expect.not.stringContaining('master'),
        }),
      )
    }
    expect(lines.filter((line) => line.includes('cannot be opened'))).toHaveLength(1)
    const damaged = { kek: '', nonce: 'AAAA', data: 'AAAA' }
    expect(() => vault.open({ ...vault.seal(bytes, []), data: 'AAAA' }, [])).toThrow(
      code('SECRET_UNREADABLE'),
    )
    expect(() => vault.open(damaged, [])).toThrow(code('SECRET_UNREADABLE'))
    expect(() => vault.open({ ...vault.seal(bytes, []), nonce: '' }, [])).toThrow(code('SECRET_UNREADABLE'))
  })

  it('answers anything with 401 or 403 and nothing else', async () => {
    const { site } = await embedded()
    const auth = await site.auth({ methods: ['api_key', 'hmac', 'jwt', 'mtls'] })
    const key = await site.key()
    const valid = signed({ key, tenant: 'acme', path: PATH, body })
    const odd = fc.oneof(
      fc.string({ unit: 'binary', maxLength: 60 }),
      fc.constantFrom(
        'Bearer ',
        'Bearer weir_',
        'Bearer a.b.c',
        'Bearer eyJ9.e30.',
        '__proto__',
        key.id,
        ...Object.values(valid),
      ),
    )
    const names = ['authorization', 'x-api-key', ...Object.keys(valid)]
    const headers = fc.dictionary(fc.constantFrom(...names), odd, { maxKeys: 7 })
    await fc.assert(
      fc.asyncProperty(headers, async (given) => {
        const isValid = Object.entries(valid).every(([name, value]) => given[name] === value)
        fc.pre(!isValid)
        const error: unknown = await auth.admit(headOf(given)).then(
          () => 'let in',
          (thrown: unknown) => thrown,
        )
        expect(error).toBeInstanceOf(Fault)
        expect(['UNAUTHENTICATED', 'PERMISSION_DENIED']).toContain((error as Fault).code)
      }),
      { numRuns: 2000 },
    )
  })

  it('refuses settings that would trust too much', () => {
    const jwt = (more: object) => ({
      jwt: {
        issuers: [
          { issuer: 'i', audience: 'a', tenant: 'acme', jwks_url: 'https://idp.example/jwks', ...more },
        ],
      },
    })
    expect(config.safeParse(jwt({})).success).toBe(true)
    expect(config.safeParse(jwt({ jwks_url: 'http://127.0.0.1:9/jwks' })).success).toBe(true)
    for (const bad of [
      { jwks_url: 'http://idp.example/jwks' },
      { jwks_url: 'file:///etc/jwks' },
      { jwks_url: 'https://user:pass@idp.example/' },
      { algorithms: ['HS256'] },
      { algorithms: ['none'] },
      { tenant_claim: 't' },
      { jwks_file: 'also' },
    ]) {
      expect([bad, config.safeParse(jwt(bad)).success]).toEqual([bad, false])
    }
    expect(config.safeParse({ hmac: { max_age: '1h' } }).success).toBe(false)
  })
})
