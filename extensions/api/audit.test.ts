import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AuditLog } from '../../pipeline/audit/log.ts'
import { parseLine, type AuditLine } from '../../pipeline/audit/line.ts'
import { linesAfter, readHead } from '../../pipeline/audit/reader.ts'
import type { QueryResult } from '../../pipeline/component.ts'
import { retry } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { IdentityCache } from '../../pipeline/identity/cache.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { ApiExtension } from './api.ts'
import { config } from './config.ts'

const ADMIN = 'admin-token-c4nary-0123'
const READER = 'reader-token-c4nary-456'
const TENANT_ADMIN = 'tenant-token-c4nary-789'
const TOKENS = [
  { token: ADMIN, role: 'admin' },
  { token: READER, role: 'read', tenant: 'acme' },
  { token: TENANT_ADMIN, role: 'admin', tenant: 'acme' },
]
const log = pino({ level: 'silent' })

let home: string
let state: EmbeddedState
let audit: AuditLog
let api: ApiExtension
let identity: IdentityCache
let close: () => Promise<void>
/** What happens in the log when the destination is asked. */
let query: Host['query']

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-api-audit-'))
  state = new EmbeddedState(join(home, 'state'))
  await state.open()
  identity = new IdentityCache(state, log)
  await identity.start()
  audit = newAudit()
  query = answered
  await serve()
})
afterEach(async () => {
  await api.stop(AbortSignal.timeout(500))
  await identity.stop()
  await audit.stop()
  await close()
  await state.close()
  await rm(home, { recursive: true, force: true })
})

function newAudit(lenient = false): AuditLog {
  const keyFile = join(home, 'audit.key')
  return new AuditLog({
    state,
    keyFile,
    log,
    meter: createMeter(),
    clock: Date.now,
    deadlineMs: 300,
    lenient,
  })
}

async function serve(): Promise<void> {
  const given = extensionContext('api')
  close = given.close
  const context = {
    ...given.context,
    state,
    identity,
    audit: new Proxy(audit, { get: (_, name) => of(audit, name) }),
  }
  const options = config.parse({ endpoint: '127.0.0.1:0', tokens: TOKENS })
  api = new ApiExtension(options, context, stubHost({ query: (...args) => query(...args) }))
  await api.start()
}

/** Tests may put another log in the place of the first. */
function of(target: AuditLog, name: string | symbol): unknown {
  const value = Reflect.get(target, name) as unknown
  return typeof value === 'function' ? value.bind(target) : value
}

/** Stands in for ClickHouse: its parser's answers to the guard, then one row. */
const answered: Host['query'] = ({ sql, params, own }) => {
  const result = (rows: readonly (readonly unknown[])[]): Promise<QueryResult> =>
    Promise.resolve({ columns: [{ name: 'n', type: 'UInt8' }], rows, truncated: false, elapsedMs: 1 })
  if (own !== true) return result([['secret-row']])
  if (sql.includes('formatQuerySingleLine')) return result([[params['weir_sql'], 'weir']])
  return result([['SelectWithUnionQuery (children 1)']])
}

async function call(method: string, path: string, token: string | undefined, body?: object) {
  const response = await fetch(`http://${api.address}${path}`, {
    method,
    headers: {
      'user-agent': 'audit-test/1',
      'content-type': 'application/json',
      ...(token !== undefined && { authorization: `Bearer ${token}` }),
    },
    ...(body && { body: JSON.stringify(body) }),
  })
  return { status: response.status, body: (await response.json()) as Record<string, unknown> }
}

async function entries(): Promise<AuditLine[]> {
  const read = await readHead(state)
  const found: AuditLine[] = []
  if (read === undefined) return found
  for await (const { lines } of linesAfter(state, read.head, 0)) {
    for (const line of lines) found.push(parseLine(line) as AuditLine)
  }
  return found
}

describe('what the API enters', () => {
  it('is a read before its data leaves: who, from where, the statement without what was searched for', async () => {
    const sql =
      "SELECT * FROM otel_traces WHERE UserId = 'ada@example.org' AND x = 4915112345678 AND t = {t:String}"
    const trace = '0123456789abcdef0123456789abcdef'
    const { status } = await call('POST', '/v1/query', READER, {
      sql,
      params: { t: trace, mail: 'bob@example.org' },
    })
    expect(status).toBe(200)
    const [entry, ...others] = await entries()
    expect(others).toEqual([])
    expect(entry).toMatchObject({
      actor: { id: 'token/2', kind: 'token' },
      action: 'data.query',
      object: 'sql',
      tenant: 'acme',
      outcome: 'ok',
      address: '127.0.0.1',
      user_agent: 'audit-test/1',
      details: { rows: 1, params: ['t', 'mail'], ids: [trace] },
    })
    expect(entry?.details?.['statement']).toBe(
      'SELECT * FROM otel_traces WHERE UserId = ? AND x = ? AND t = {t:String}',
    )
    expect(JSON.stringify(entry)).not.toMatch(/ada|bob|49151|secret-row/)
  })

  it('is a change twice: that it begins, and how it ended, with the key it made and nothing of its secret', async () => {
    await call('POST', '/v1/tenants', ADMIN, { id: 'acme' })
    const made = await call('POST', '/v1/keys', ADMIN, { tenant: 'acme', roles: ['read'] })
    const { id } = made.body['key'] as { id: string }
    await call('POST', `/v1/keys/${id}/revoke`, ADMIN, {})
    await call('POST', '/v1/tenants', ADMIN, { id: 'acme' })
    const told = (await entries()).map(({ action, outcome, object, details }) => [
      action,
      outcome,
      object,
      details?.['begun'] ?? null,
    ])
    expect(told).toEqual([
      ['tenant.create', 'begun', undefined, null],
      ['tenant.create', 'ok', 'acme', 1],
      ['key.create', 'begun', undefined, null],
      ['key.create', 'ok', id, 3],
      ['key.revoke', 'begun', id, null],
      ['key.revoke', 'ok', id, 5],
      ['tenant.create', 'begun', undefined, null],
      ['tenant.create', 'failed', undefined, 7],
    ])
    expect(JSON.stringify(await entries())).not.toContain(String(made.body['secret']).slice(-20))
  })

  it('is who was refused, by the route and not by what was asked, repeats as a number', async () => {
    for (let at = 0; at < 5; at++) await call('GET', `/v1/keys/k${at}`, undefined)
    await call('GET', '/v1/keys', READER)
    await audit.stop()
    const refused = (await entries()).map(({ actor, object, details }) => [
      actor.id,
      object,
      details?.['code'],
      details?.['repeats'] ?? 0,
    ])
    expect(refused).toEqual([
      ['nobody', 'GET /v1/keys/{key}', 'UNAUTHENTICATED', 0],
      ['token/2', 'GET /v1/keys', 'PERMISSION_DENIED', 0],
      ['nobody', 'GET /v1/keys/{key}', 'UNAUTHENTICATED', 4],
    ])
  })

  it('names every route that tells or changes something, so that nobody reads unseen', () => {
    const silent = api.routes
      .filter((route) => route.audit === false)
      .map(({ method, path }) => `${method} ${path}`)
    expect(silent.filter((name) => !name.startsWith('GET '))).toEqual([])
    expect(silent).not.toContain('GET /v1/dead-letters/{id}')
  })
})

describe('when the log cannot be written', () => {
  /** The store goes away while the query runs. */
  const brokenMeanwhile = (): void => {
    query = async (request, signal) => {
      const result = await answered(request, signal)
      if (request.own !== true) audit.append = () => Promise.reject(retry('AUDIT_UNAVAILABLE', 'gone'))
      return result
    }
  }

  it('gives no data out, and makes no change', async () => {
    brokenMeanwhile()
    const read = await call('POST', '/v1/query', READER, { sql: 'SELECT 1' })
    expect(read).toMatchObject({ status: 503, body: { code: 'AUDIT_UNAVAILABLE' } })
    expect(JSON.stringify(read.body)).not.toContain('secret-row')
    expect(await call('POST', '/v1/tenants', ADMIN, { id: 'acme' })).toMatchObject({ status: 503 })
    expect([...identity.tenants()]).toEqual([])
    expect((await call('GET', '/v1/status', ADMIN)).status).not.toBe(503)
  })

  it('goes on where the config says so', async () => {
    audit = newAudit(true)
    Object.defineProperty(audit, 'refused', { value: () => undefined })
    const update = state.update.bind(state)
    state.update = () => Promise.reject(retry('STATE_UNAVAILABLE', 'gone'))
    state.create = (key, value) =>
      key.startsWith('audit')
        ? Promise.reject(retry('STATE_UNAVAILABLE', 'gone'))
        : EmbeddedState.prototype.create.call(state, key, value)
    expect((await call('POST', '/v1/query', READER, { sql: 'SELECT 1' })).status).toBe(200)
    state.update = update
  })
})

describe('reading the log', () => {
  beforeEach(async () => {
    for (let at = 0; at < 30; at++) {
      await audit.append({
        actor: { id: at % 2 ? 'k1' : 'k2', kind: 'key' },
        action: at % 3 ? 'key.create' : 'data.query',
        tenant: at % 5 ? 'acme' : 'bmce',
        outcome: 'ok',
        object: `o${at}`,
      })
    }
  })

  it('filters, newest first, in pages', async () => {
    const one = await call('GET', '/v1/audit?actor=k1&action=key&limit=4', ADMIN)
    const objects = (body: Record<string, unknown>) =>
      (body['entries'] as { object: string }[]).map(({ object }) => object)
    expect(objects(one.body)).toEqual(['o29', 'o25', 'o23', 'o19'])
    const two = await call(
      'GET',
      `/v1/audit?actor=k1&action=key&limit=100&before=${String(one.body['next'])}`,
      ADMIN,
    )
    expect(objects(two.body)).toEqual(['o17', 'o13', 'o11', 'o7', 'o5', 'o1'])
    expect(two.body['next']).toBeNull()
    const none = await call('GET', `/v1/audit?until=${new Date(0).toISOString()}`, ADMIN)
    expect(objects(none.body)).toEqual([])
  })

  it('shows the admin of a tenant that tenant, and nobody else’s', async () => {
    const { body } = await call('GET', '/v1/audit?limit=1000', TENANT_ADMIN)
    const tenants = new Set((body['entries'] as { tenant: string }[]).map(({ tenant }) => tenant))
    expect([...tenants]).toEqual(['acme'])
    expect((await call('GET', '/v1/audit?tenant=bmce', TENANT_ADMIN)).status).toBe(403)
    expect((await call('GET', '/v1/audit/lines', TENANT_ADMIN)).status).toBe(403)
    expect((await call('GET', '/v1/audit', READER)).status).toBe(403)
  })

  it('is entered itself, and verifies', async () => {
    await call('GET', '/v1/audit?actor=k1', ADMIN)
    const { body } = await call('POST', '/v1/audit/verify', ADMIN, {})
    expect(body).toMatchObject({ ok: true, first: 1, last: 31 })
    expect((await entries()).slice(-2).map(({ action }) => action)).toEqual(['audit.query', 'audit.verify'])
  })
})
