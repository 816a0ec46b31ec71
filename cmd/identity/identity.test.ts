import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ApiExtension } from '../../extensions/api/api.ts'
import { config } from '../../extensions/api/config.ts'
import { IdentityCache } from '../../pipeline/identity/cache.ts'
import { Directory } from '../../pipeline/identity/directory.ts'
import { isInForce, Keyring } from '../../pipeline/identity/keyring.ts'
import { keyKey } from '../../pipeline/identity/records.ts'
import { judgeToken } from '../../pipeline/identity/verify.ts'
import { Vault } from '../../pipeline/identity/vault.ts'
import { Secret } from '../../pipeline/secret.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { stateKey } from '../../pipeline/state/state.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { until } from '../../test/support/until.ts'
import { runCli } from '../cli.ts'

const MASTER = '11'.repeat(32)

let home: string
let state: EmbeddedState
let identity: IdentityCache
let api: ApiExtension
let close: () => Promise<void>
let lines: string[]

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-identity-cli-'))
  state = new EmbeddedState(join(home, 'state'))
  await state.open()
  const parts = extensionContext('api')
  identity = new IdentityCache(state, parts.context.log)
  await identity.start()
  lines = parts.lines
  close = parts.close
  const context = { ...parts.context, state, identity, vault: new Vault(new Secret(MASTER)) }
  api = new ApiExtension(config.parse({ endpoint: '127.0.0.1:0' }), context, stubHost({}))
  await api.start()
})

afterEach(async () => {
  await api.stop(AbortSignal.timeout(1000))
  await close()
  await identity.stop()
  await state.close()
  await rm(home, { recursive: true })
})

/** Of the same state store. */
const offlineConfig = (keys = '') => `receivers: { otlp: { protocols: { grpc: {} } } }
exporters: { stdout: {} }
extensions: { state: { driver: embedded, directory: ${home}/state, ${keys} } }
service: { extensions: [state], pipelines: { traces: { receivers: [otlp], exporters: [stdout] } } }
`

interface Ran {
  readonly code: number
  readonly out: string
  readonly err: string
}

async function weir(argv: readonly string[], token?: string): Promise<Ran> {
  let [out, err] = ['', '']
  const env = {
    WEIR_ENDPOINT: `http://${api.address}`,
    ...(token !== undefined && { WEIR_TOKEN: token }),
  }
  const io = { out: (text: string) => void (out += text), err: (text: string) => void (err += text) }
  const code = await runCli(argv, { ...io, env, tty: false })
  return { code, out, err }
}

interface Answer {
  readonly key: { readonly id: string } & Record<string, unknown>
  readonly secret: string
  readonly tenant: Record<string, unknown>
  readonly tenants: readonly Record<string, unknown>[]
  readonly agents: readonly Record<string, unknown>[]
  readonly keys: readonly Record<string, unknown>[]
}

/** Runs with `--json`, expects success, and waits until the daemon's own view has the answer's change. */
async function json(argv: readonly string[], token?: string): Promise<Answer> {
  const ran = await weir([...argv, '--json'], token)
  expect(ran).toMatchObject({ code: 0, err: '' })
  const answer = JSON.parse(ran.out) as Answer
  if ('secret' in answer) await until(() => identity.key(answer.key.id) !== undefined)
  return answer
}

describe('weir tenant, project, agent', () => {
  it('creates, changes, lists, disables and restores', async () => {
    await json(['tenant', 'create', 'acme', '--name', 'Acme', '--limit', 'usd_per_day=5'])
    await json(['project', 'create', 'shop', '--tenant', 'acme'])
    await json(['agent', 'create', 'p1', '--tenant', 'acme', '--version', '1.2', '--capability', 'search'])
    const set = await json(['tenant', 'set', 'acme', '--tier', 'paid', '--no-limits'])
    expect(set.tenant).toMatchObject({
      id: 'acme',
      name: 'Acme',
      tier: 'paid',
      limits: {},
      status: 'active',
    })
    expect((await json(['tenant', 'revoke', 'acme'])).tenant['status']).toBe('disabled')
    expect((await json(['tenant', 'restore', 'acme'])).tenant['status']).toBe('active')
    await until(
      () => identity.agent('acme', 'p1') !== undefined && identity.project('acme', 'shop') !== undefined,
    )
    expect((await json(['agent', 'ls', '--tenant', 'acme'])).agents).toMatchObject([
      { id: 'p1', version: '1.2', capabilities: ['search'] },
    ])
    expect((await weir(['project', 'ls', '--tenant', 'acme'])).out).toContain('shop')
  })

  it('leaves room for other tenants in the memory of the daemons', async () => {
    await json(['tenant', 'create', 'acme'])
    const common = { v: 1, tenant: 'acme', name: '', status: 'active', created_ms: 1 }
    const fill = (count: number, kind: 'agent' | 'project') =>
      Promise.all(
        Array.from({ length: count }, (_, n) => {
          const record = { ...common, id: `n${n}`, version: '', capabilities: [] }
          return state.put(stateKey('identity', kind, 'acme', record.id), Buffer.from(JSON.stringify(record)))
        }),
      )
    await fill(1000, 'agent')
    await fill(999, 'project')
    const full = { code: 1, err: expect.stringContaining('which is the most') }
    expect(await weir(['agent', 'create', 'x', '--tenant', 'acme'])).toMatchObject(full)
    await json(['project', 'create', 'x', '--tenant', 'acme'])
    expect(await weir(['project', 'create', 'y', '--tenant', 'acme'])).toMatchObject(full)
    await json(['tenant', 'create', 'bmce'])
    const many = Array.from({ length: 256 }, (_, n) => ['--capability', String(n).padEnd(256, 'x')])
    const big = ['agent', 'create', 'x', '--tenant', 'bmce', ...many.flat()]
    expect(await weir(big)).toMatchObject({ code: 1, err: expect.stringContaining('bytes') })
    const key = { ...common, roles: ['ingest'], kind: 'certificate' }
    const keys = Array.from({ length: 10_000 }, (_, n) => ({ ...key, id: `k${n}`, binding: `san:DNS:${n}` }))
    await Promise.all(keys.map((each) => state.put(keyKey(each.id), Buffer.from(JSON.stringify(each)))))
    expect(await weir(['key', 'create', '--tenant', 'acme'])).toMatchObject(full)
    await json(['key', 'create', '--tenant', 'bmce'])
  })

  it('says what is wrong, and with which exit code', async () => {
    await json(['tenant', 'create', 'acme'])
    expect(await weir(['tenant', 'create', 'acme'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('already (CONFLICT)'),
    })
    expect(await weir(['tenant', 'create', 'Not_OK'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('id'),
    })
    expect(await weir(['tenant', 'show', 'nobody'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('NOT_FOUND'),
    })
    expect(await weir(['project', 'create', 'x', '--tenant', 'nobody'])).toMatchObject({ code: 1 })
    expect(await weir(['project', 'ls'])).toMatchObject({ code: 2, err: expect.stringContaining('--tenant') })
    expect(await weir(['agent', 'create', 'x', '--tenant', 'acme', '--tier', 'paid'])).toMatchObject({
      code: 2,
    })
    expect(await weir(['tenant', 'explode', 'x'])).toMatchObject({
      code: 2,
      err: expect.stringContaining('create, ls'),
    })
    expect(await weir(['tenant', 'set', 'acme', '--limit', 'wishes=3'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('wishes'),
    })
  })
})

describe('weir key', () => {
  it('prints a key once and stores only its digest', async () => {
    await json(['tenant', 'create', 'acme'])
    const { key, secret } = await json([
      'key',
      'create',
      '--tenant',
      'acme',
      '--env',
      'test',
      '--expires',
      '90d',
    ])
    expect(secret).toMatch(new RegExp(`^weir_test_${key.id}_[0-9a-f]{64}$`))
    expect(judgeToken(identity, secret, Date.now())).toMatchObject({ id: key.id, tenant: 'acme' })
    expect((await weir(['key', 'show', key.id])).out).not.toContain(secret)
    await json(['key', 'create', '--tenant', 'acme', '--kind', 'hmac'])
    const stored = (await state.list(stateKey('identity')))
      .map(({ value }) => Buffer.from(value).toString())
      .join()
    expect(stored).not.toContain(secret.slice(-64))
    const file = await readFile(join(home, 'state', 'data.mdb'))
    expect(file.includes(secret.slice(-64))).toBe(false)
    expect(lines.join()).not.toContain(secret.slice(-64))
  })

  it('rotates with an overlap, revokes, and forgets only what is out of force', async () => {
    await json(['tenant', 'create', 'acme'])
    const first = await json(['key', 'create', '--tenant', 'acme'])
    const second = await json(['key', 'rotate', first.key.id, '--overlap', '1h'])
    await until(() => identity.key(first.key.id)?.expires_ms !== undefined)
    const nowMs = Date.now()
    expect(judgeToken(identity, first.secret, nowMs)).toMatchObject({ id: first.key.id })
    expect(judgeToken(identity, second.secret, nowMs)).toMatchObject({ id: second.key.id })
    expect(judgeToken(identity, first.secret, nowMs + 3_601_000)).toBe('expired')
    expect(await weir(['key', 'rm', second.key.id])).toMatchObject({
      code: 1,
      err: expect.stringContaining('revoke it first'),
    })
    await json(['key', 'revoke', second.key.id])
    await until(() => judgeToken(identity, second.secret, nowMs) === 'revoked')
    expect(await weir(['key', 'rotate', second.key.id])).toMatchObject({ code: 1 })
    await json(['key', 'rm', second.key.id])
    await until(() => judgeToken(identity, second.secret, nowMs) === 'unknown')
  })

  it('takes no end that lies beyond all calendars', async () => {
    const argv = ['key', 'create', '--tenant', 'acme', '--expires', '999999999999d']
    expect(await weir(argv)).toMatchObject({ code: 2, err: expect.stringContaining('--expires') })
  })

  it('rotates a key once: its successor is the one to rotate, and lives as long as the first was to', async () => {
    await json(['tenant', 'create', 'acme'])
    const first = await json(['key', 'create', '--tenant', 'acme'])
    const second = await json(['key', 'rotate', first.key.id, '--overlap', '1h'])
    expect(await weir(['key', 'rotate', first.key.id])).toMatchObject({
      code: 1,
      err: expect.stringContaining(second.key.id),
    })
    const third = await json(['key', 'rotate', second.key.id])
    expect(third.key['expires']).toBeNull()
  })

  it('keeps 8 HMAC secrets of a tenant in force, rotated ones too', async () => {
    await json(['tenant', 'create', 'acme'])
    const hmac = () => json(['key', 'create', '--tenant', 'acme', '--kind', 'hmac'])
    const { key } = await hmac()
    for (let more = 1; more < 8; more++) await hmac()
    expect((await weir(['key', 'rotate', key.id])).err).toContain('CONFLICT')
    const ended = await json(['key', 'rotate', key.id, '--overlap', '0'])
    const records = [...identity.keys()].filter((each) => isInForce(each, Date.now()))
    expect(records).toHaveLength(8)
    expect(records.map(({ id }) => id)).toContain(ended.key.id)
  })

  it('gives the key of a project no say over the rest of its tenant', async () => {
    await json(['tenant', 'create', 'acme'])
    await json(['project', 'create', 'shop', '--tenant', 'acme'])
    for (const role of ['read', 'admin']) {
      const argv = ['key', 'create', '--tenant', 'acme', '--project', 'shop', '--role', role]
      expect((await weir(argv)).err).toContain('REQUEST_INVALID')
    }
  })

  it('opens sealed secrets again only with the key and the record they were made for; reseal moves them', async () => {
    await json(['tenant', 'create', 'acme'])
    await json(['tenant', 'create', 'bmce'])
    const { key, secret } = await json(['key', 'create', '--tenant', 'acme', '--kind', 'hmac'])
    const record = identity.key(key.id)
    if (record?.kind !== 'hmac') throw new Error('it is no HMAC secret')
    const old = new Vault(new Secret(MASTER))
    expect(old.open(record.sealed, ['acme', 'hmac', key.id]).toString()).toBe(secret)
    expect(() => old.open(record.sealed, ['bmce', 'hmac', key.id])).toThrow(/another record/)
    const next = new Secret(Buffer.alloc(32, 7).toString('base64'))
    expect(() => new Vault(next).open(record.sealed, ['acme', 'hmac', key.id])).toThrow(
      /previous_master_keys/,
    )
    const both = new Vault(next, [new Secret(MASTER)])
    expect(both.isOutdated(record.sealed)).toBe(true)
    expect(both.open(record.sealed, ['acme', 'hmac', key.id]).toString()).toBe(secret)
  })

  it('works on the state store alone with --config, and reseals there after the master key was changed', async () => {
    const file = join(home, 'weir.yaml')
    const text = offlineConfig
    await writeFile(file, text(`master_key: "${MASTER}"`))
    const offline = (...argv: string[]) => json([...argv, '--config', file])
    await offline('tenant', 'create', 'acme')
    const { key, secret } = await offline('key', 'create', '--tenant', 'acme', '--kind', 'hmac')
    const next = '22'.repeat(32)
    await writeFile(file, text(`master_key: "${next}", previous_master_keys: ["${MASTER}"]`))
    // The HMAC secret, and the key that signs the audit log.
    expect(await offline('key', 'reseal')).toEqual({ resealed: 2 })
    expect(await offline('key', 'reseal')).toEqual({ resealed: 0 })
    await until(() => {
      const record = identity.key(key.id)
      if (record?.kind !== 'hmac') return false
      return new Vault(new Secret(next)).open(record.sealed, ['acme', 'hmac', key.id]).toString() === secret
    })
  })
})

describe('who may do it', () => {
  it('asks nobody on this machine until the first admin key, and from then on for one', async () => {
    await json(['tenant', 'create', 'acme'])
    const tenantAdmin = await json(['key', 'create', '--tenant', 'acme', '--role', 'admin'])
    await json(['tenant', 'ls'])
    const admin = await json(['key', 'create', '--role', 'admin'])
    expect(await weir(['tenant', 'ls'])).toMatchObject({
      code: 1,
      err: expect.stringContaining('UNAUTHENTICATED'),
    })
    await json(['tenant', 'ls'], admin.secret)
    await json(['key', 'revoke', admin.key.id], admin.secret)
    await until(() => identity.key(admin.key.id)?.revoked_ms !== undefined)
    expect((await weir(['tenant', 'ls'])).err).toContain('UNAUTHENTICATED')
    expect((await weir(['tenant', 'ls'], admin.secret)).err).toContain('UNAUTHENTICATED')
    await json(['key', 'ls'], tenantAdmin.secret)
  })

  it('does not ask nobody again because the last admin key was forgotten, or cannot be read', async () => {
    const file = join(home, 'weir.yaml')
    await writeFile(file, offlineConfig())
    const admin = await json(['key', 'create', '--role', 'admin'])
    await json(['key', 'revoke', admin.key.id], admin.secret)
    await until(() => identity.key(admin.key.id)?.revoked_ms !== undefined)
    expect(await weir(['key', 'rm', admin.key.id, '--config', file])).toMatchObject({
      code: 1,
      err: expect.stringContaining('CONFLICT'),
    })
    expect((await weir(['tenant', 'ls'])).err).toContain('UNAUTHENTICATED')
    const next = await json(['key', 'create', '--role', 'admin', '--config', file])
    await until(() => identity.key(next.key.id) !== undefined)
    await json(['key', 'rm', admin.key.id], next.secret)
    await state.put(keyKey(next.key.id), Buffer.from('{"v":2}'))
    await until(() => identity.key(next.key.id) === undefined)
    expect((await weir(['tenant', 'ls'])).err).toContain('UNAUTHENTICATED')
  })

  it('shows and changes for the admin of a tenant that tenant only, and not its tier', async () => {
    await json(['tenant', 'create', 'acme'])
    await json(['tenant', 'create', 'bmce'])
    await json(['project', 'create', 'p', '--tenant', 'bmce'])
    const other = await json(['key', 'create', '--tenant', 'bmce'])
    const reader = await json(['key', 'create', '--tenant', 'acme', '--role', 'read'])
    await json(['key', 'create', '--role', 'admin'])
    const acme = await adminOf('acme')
    const { tenants } = await json(['tenant', 'ls'], acme)
    expect(tenants.map(({ id }) => id)).toEqual(['acme'])
    const { keys } = await json(['key', 'ls'], acme)
    expect(keys.map(({ tenant }) => tenant)).toEqual(['acme', 'acme'])
    const refused = [
      ['tenant', 'show', 'bmce'],
      ['tenant', 'create', 'mine'],
      ['tenant', 'set', 'acme', '--tier', 'enterprise'],
      ['project', 'ls', '--tenant', 'bmce'],
      ['project', 'set', 'p', '--tenant', 'bmce', '--name', 'x'],
      ['agent', 'create', 'x', '--tenant', 'bmce'],
      ['key', 'ls', '--tenant', 'bmce'],
      ['key', 'create', '--tenant', 'bmce'],
      ['key', 'create', '--kind', 'certificate', '--san', 'DNS:b.example'],
      ['key', 'reseal'],
    ]
    for (const argv of refused) {
      expect([argv.join(' '), (await weir(argv, acme)).err]).toEqual([
        argv.join(' '),
        expect.stringContaining('PERMISSION_DENIED'),
      ])
    }
    for (const action of ['show', 'rotate', 'revoke', 'rm']) {
      expect((await weir(['key', action, other.key.id], acme)).err).toContain('NOT_FOUND')
    }
    expect((await weir(['tenant', 'ls'], reader.secret)).err).toContain('PERMISSION_DENIED')
    const made = await json(['key', 'create'], acme)
    expect(made.key).toMatchObject({ tenant: 'acme', roles: ['ingest'] })
  })

  async function adminOf(tenant: string): Promise<string> {
    const ring = new Keyring(state, new Directory(state, Date.now), undefined, Date.now)
    const { key, secret } = await ring.create({ kind: 'api', tenant, roles: ['admin'] })
    await until(() => identity.key(key.id) !== undefined)
    return secret ?? ''
  }

  it('notes when a key was last good', async () => {
    const admin = await json(['key', 'create', '--role', 'admin'])
    expect(admin.key['last_used']).toBeNull()
    await until(async () => {
      const { keys } = await json(['key', 'ls'], admin.secret)
      return keys[0]?.['last_used'] !== null
    })
  })
})
