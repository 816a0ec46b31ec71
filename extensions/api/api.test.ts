import { request as httpRequest } from 'node:http'
import { Session } from 'chdb'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import type { QueryRequest, QueryResult } from '../../pipeline/component.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Health, Host } from '../../pipeline/host.ts'
import { ApiExtension } from './api.ts'
import { config } from './config.ts'
import { NAMED_QUERIES } from './named-queries.ts'

const ADMIN = 'admin-token-c4nary-0123'
const READER = 'reader-token-c4nary-456'
const INGEST = 'ingest-token-c4nary-789'
const TOKENS = [
  { token: ADMIN, role: 'admin' },
  { token: READER, role: 'read', tenant: 'acme' },
  { token: INGEST, role: 'ingest', tenant: 'acme' },
]

const HEALTH: Health = {
  ready: true,
  degraded: [],
  startedAtMs: 0,
  components: [{ name: 'receiver:otlp', group: 'receivers', status: 'StatusOK', sinceMs: 1 }],
  durability: [{ connector: 'wal', mode: 'process', proof: 'p' }],
  configDigest: 'd1',
}

const home = mkdtempSync(join(tmpdir(), 'weir-api-'))
let session: Session
beforeAll(() => {
  session = new Session(home)
  session.query('CREATE DATABASE weir')
  session.query('USE weir')
})
afterAll(() => {
  session.cleanup()
  rmSync(home, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

const running: ApiExtension[] = []
const { context, meter, lines, close } = extensionContext('api')
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop(AbortSignal.timeout(100))))
  await close()
  lines.length = 0
})

/** Asked of ClickHouse, with what was asked. */
function clickhouse(asked: QueryRequest[]): Host['query'] {
  return (request) => {
    asked.push(request)
    try {
      const text = session.queryBind(request.sql, request.params, 'JSONCompact')
      const { meta, data } = JSON.parse(text) as { meta: QueryResult['columns']; data: unknown[][] }
      return Promise.resolve({ columns: meta, rows: data, truncated: false, elapsedMs: 1 })
    } catch (error) {
      return Promise.reject(reject('QUERY_FAILED', (error as Error).message))
    }
  }
}

async function serve(parts: Partial<Host>, options: Record<string, unknown> = {}) {
  const parsed = config.parse({ endpoint: '127.0.0.1:0', ...options })
  const health = () => Promise.resolve(HEALTH)
  const api = new ApiExtension(parsed, context, stubHost({ health, ...parts }))
  running.push(api)
  await api.start()
  return { api, url: `http://${api.address}` }
}

interface Answer {
  readonly status: number
  readonly headers: Headers
  readonly body: Record<string, unknown>
}

async function call(url: string, init: RequestInit = {}): Promise<Answer> {
  const answer = await fetch(url, init)
  return {
    status: answer.status,
    headers: answer.headers,
    body: (await answer.json()) as Record<string, unknown>,
  }
}

const bearer = (token: string) => ({ authorization: `Bearer ${token}` })
const post = (body: unknown, headers: Record<string, string> = {}): RequestInit => ({
  method: 'POST',
  headers: { 'content-type': 'application/json', ...headers },
  body: typeof body === 'string' ? body : JSON.stringify(body),
})

/** With headers that fetch would not send. */
function raw(url: string, method: string, headers: Record<string, string>): Promise<number> {
  return new Promise((resolve, fail) => {
    const request = httpRequest(url, { method, headers }, (response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    request.on('error', fail)
    request.end()
  })
}

describe('api: who may do what', () => {
  it('needs a token for every route, and the role that the route declares', async () => {
    const { api, url } = await serve({ query: clickhouse([]) }, { tokens: TOKENS })
    expect(api.routes.map(({ method, path, role }) => `${method} ${path} ${role}`)).toEqual([
      'GET /v1/status read',
      'POST /-/reload admin',
      'POST /v1/query read',
      'GET /v1/named-queries read',
      'GET /v1/tenants admin',
      'POST /v1/tenants admin',
      'GET /v1/tenants/{tenant} admin',
      'PATCH /v1/tenants/{tenant} admin',
      'GET /v1/tenants/{tenant}/projects admin',
      'POST /v1/tenants/{tenant}/projects admin',
      'GET /v1/tenants/{tenant}/projects/{project} admin',
      'PATCH /v1/tenants/{tenant}/projects/{project} admin',
      'GET /v1/tenants/{tenant}/agents admin',
      'POST /v1/tenants/{tenant}/agents admin',
      'GET /v1/tenants/{tenant}/agents/{agent} admin',
      'PATCH /v1/tenants/{tenant}/agents/{agent} admin',
      'GET /v1/keys admin',
      'POST /v1/keys admin',
      'GET /v1/keys/{key} admin',
      'POST /v1/keys/{key}/rotate admin',
      'POST /v1/keys/{key}/revoke admin',
      'DELETE /v1/keys/{key} admin',
      'POST /v1/secrets/reseal admin',
      'GET /v1/tenants/{tenant}/consents admin',
      'GET /v1/tenants/{tenant}/consents/{consent} admin',
      'POST /v1/tenants/{tenant}/consents admin',
      'POST /v1/tenants/{tenant}/consents/{consent}/revoke admin',
      'POST /v1/pseudonym admin',
      'POST /v1/reprice admin',
      'GET /v1/dead-letters admin',
      'GET /v1/dead-letters/{id} admin',
      'POST /v1/dead-letters/retry admin',
      'POST /v1/dead-letters/purge admin',
      'GET /v1/cursors admin',
      'DELETE /v1/cursors/{cursor} admin',
      'GET /v1/jobs read',
      'GET /v1/jobs/{job} read',
      'GET /v1/jobs/{job}/runs read',
      'GET /v1/jobs/{job}/runs/{run} read',
      'POST /v1/jobs/{job}/runs admin',
      'DELETE /v1/jobs/{job}/runs/{run} admin',
      'GET /v1/artifacts/{tenant}/{sha256} read',
      'GET /v1/runs/{run} read',
      'GET /v1/runs/{run}/fixture read',
      'GET /v1/diff read',
      'POST /v1/diff read',
      'POST /v1/runs/{run}/replay read',
      'POST /v1/runs/{run}/answers admin',
      'GET /v1/audit admin',
      'GET /v1/audit/lines admin',
      'POST /v1/audit/verify admin',
    ])
    for (const { method, path, role, scope } of api.routes) {
      const as = async (headers: Record<string, string>) =>
        (await call(`${url}${path}`, { method, headers })).status
      expect(await as({})).toBe(401)
      expect(await as(bearer('wrong'))).toBe(401)
      expect(await as({ authorization: `Basic ${ADMIN}` })).toBe(401)
      expect(await as(bearer(INGEST))).toBe(403)
      expect(await as(bearer(READER))).not.toBe(401)
      expect((await as(bearer(READER))) === 403).toBe(role === 'admin' || scope === 'daemon')
      expect([401, 403]).not.toContain(await as(bearer(ADMIN)))
    }
  })

  it('does not say what exists to somebody without a token', async () => {
    const { url } = await serve({}, { tokens: TOKENS })
    expect((await call(`${url}/nope`)).status).toBe(401)
    const answer = await call(`${url}/nope`, { headers: bearer(ADMIN) })
    expect(answer.status).toBe(404)
    expect(answer.headers.get('content-type')).toBe('application/problem+json')
    expect(answer.body).toMatchObject({ status: 404, code: 'NOT_FOUND', type: 'urn:weir:error:NOT_FOUND' })
  })

  it('names the methods that are there', async () => {
    const { url } = await serve({})
    const answer = await call(`${url}/v1/query`)
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST'])
  })

  it('refuses to serve other machines without tokens, and weak or half tokens', async () => {
    await expect(serve({}, { endpoint: '0.0.0.0:0' })).rejects.toThrow(/reachable from other machines/)
    const { url } = await serve({}, { endpoint: '0.0.0.0:0', tokens: TOKENS })
    expect(
      (await call(url.replace('0.0.0.0', '127.0.0.1') + '/v1/status', { headers: bearer(READER) })).status,
    ).toBe(200)
    expect(() => config.parse({ tokens: [{ token: 'short', role: 'admin' }] })).toThrow(/16 characters/)
    expect(() => config.parse({ tokens: [{ token: ADMIN, role: 'read' }] })).toThrow(/tenant/)
  })

  it('stops safely before it started', async () => {
    await new ApiExtension(config.parse({}), context, stubHost({})).stop(AbortSignal.timeout(10))
  })
})

describe('api: browsers', () => {
  it('refuses a rebound name and pages of another origin', async () => {
    const { url } = await serve({})
    const status = `${url}/v1/status`
    const own = url.slice('http://'.length)
    expect(await raw(status, 'GET', { host: own })).toBe(200)
    expect(await raw(status, 'GET', { host: 'localhost:4320' })).toBe(200)
    expect(await raw(status, 'GET', { host: 'evil.example' })).toBe(403)
    expect(await raw(status, 'GET', { host: '127.0.0.1.evil.example' })).toBe(403)
    expect(await raw(status, 'GET', { host: own, origin: 'http://evil.example' })).toBe(403)
    expect(await raw(status, 'GET', { host: own, origin: 'null' })).toBe(403)
    expect(await raw(status, 'GET', { host: own, 'sec-fetch-site': 'cross-site' })).toBe(403)
    expect(await raw(status, 'GET', { host: own, origin: url })).toBe(200)
    expect(await raw(`${url}/-/reload`, 'POST', { host: own, origin: 'http://evil.example' })).toBe(403)
  })

  it('takes JSON only, as JSON', async () => {
    const { url } = await serve({ query: clickhouse([]) })
    const query = `${url}/v1/query`
    expect((await call(query, post('{"sql":"SELECT 1"}', { 'content-type': 'text/plain' }))).status).toBe(415)
    expect((await call(query, post('{"sql":"SELECT 1"}', { 'content-encoding': 'gzip' }))).status).toBe(415)
    expect((await call(query, post('{"sql":'))).status).toBe(400)
    expect((await call(query, post('x'.repeat(300_000)))).status).toBe(413)
  })
})

describe('api: status and reload', () => {
  it('shows status, digest and durability', async () => {
    const { url } = await serve({})
    const answer = await call(`${url}/v1/status`)
    expect(answer.status).toBe(200)
    expect(answer.body).toMatchObject({
      healthy: true,
      config_digest: 'd1',
      durability: HEALTH.durability,
      components: { receivers: { components: { 'receiver:otlp': { status: 'StatusOK' } } } },
    })
  })

  it('reloads, and says why when the old config runs on', async () => {
    const { url } = await serve({
      reload: () => Promise.resolve({ configDigest: 'd2', changed: ['receiver:otlp'] }),
    })
    const reloaded = await call(`${url}/-/reload`, { method: 'POST' })
    expect(reloaded).toMatchObject({ status: 200, body: { config_digest: 'd2', changed: ['receiver:otlp'] } })
    const broken = await serve({
      reload: () => Promise.reject(reject('CONFIG_INVALID', 'weir.yaml:3:5: unknown key')),
    })
    expect(await call(`${broken.url}/-/reload`, { method: 'POST' })).toMatchObject({
      status: 400,
      body: { code: 'CONFIG_INVALID', detail: 'weir.yaml:3:5: unknown key' },
    })
  })

  it('answers the reload that replaces the API itself', async () => {
    let replaced: Promise<void> | undefined
    const { api, url } = await serve({
      reload: async () => {
        replaced = api.stop(AbortSignal.timeout(5000))
        await replaced
        return { configDigest: 'd3', changed: [] }
      },
    })
    expect((await call(`${url}/-/reload`, { method: 'POST' })).status).toBe(202)
    await replaced
  })
})

describe('api: queries', () => {
  it('answers with columns and rows, values bound', async () => {
    const { url } = await serve({ query: clickhouse([]) })
    const sql = "SELECT {who:String} AS who, toUInt32(7) AS n, [1, 2] AS list -- it's a comment"
    const answer = await call(`${url}/v1/query`, post({ sql, params: { who: "x' OR 1; --" } }))
    expect(answer).toMatchObject({
      status: 200,
      body: {
        columns: [
          { name: 'who', type: 'String' },
          { name: 'n', type: 'UInt32' },
          { name: 'list', type: 'Array(UInt8)' },
        ],
        rows: [["x' OR 1; --", 7, [1, 2]]],
        truncated: false,
      },
    })
  })

  it('refuses what the guard refuses, with the reason', async () => {
    const asked: QueryRequest[] = []
    const { url } = await serve({ query: clickhouse(asked) })
    for (const sql of [
      'DROP TABLE x',
      "SELECT * FROM file('/etc/passwd')",
      'SELECT 1; SELECT 2',
      'SELEC 1',
    ]) {
      const answer = await call(`${url}/v1/query`, post({ sql }))
      expect(answer).toMatchObject({ status: 400, body: { code: 'QUERY_REFUSED' } })
    }
    const ran = asked.filter(({ sql }) => !/^SELECT (formatQuery|explain FROM \(EXPLAIN AST )/.test(sql))
    expect(ran).toEqual([])
  })

  it("passes the token's tenant, and an admin's none, within the limits", async () => {
    const asked: QueryRequest[] = []
    const { url } = await serve({ query: clickhouse(asked) }, { tokens: TOKENS, query: { max_rows: 50 } })
    const limits = { max_rows: 1000, max_bytes: 10, timeout_ms: 10 ** 9 }
    await call(`${url}/v1/query`, post({ sql: 'SELECT 1', limits }, bearer(READER)))
    expect(asked.at(-1)).toMatchObject({
      sql: 'SELECT 1',
      tenant: 'acme',
      maxRows: 50,
      maxBytes: 10,
      timeoutMs: 30_000,
    })
    await call(`${url}/v1/query`, post({ sql: 'SELECT 1', limits: { max_rows: 5 } }, bearer(ADMIN)))
    expect(asked.at(-1)).not.toHaveProperty('tenant')
    expect(asked.at(-1)).toMatchObject({ maxRows: 5 })
  })

  it('takes no body that says who is asking', async () => {
    const { url } = await serve({ query: clickhouse([]) }, { tokens: TOKENS })
    const answer = await call(`${url}/v1/query`, post({ sql: 'SELECT 1', tenant: 'other' }, bearer(READER)))
    expect(answer).toMatchObject({ status: 400, body: { code: 'QUERY_REFUSED' } })
  })

  it('bounds how many run at once and tells the others when to come again', async () => {
    let release = (): void => undefined
    const arrived = new Promise<void>((here) => {
      void serve(
        {
          query: () => {
            here()
            return new Promise((resolve) => {
              release = () =>
                resolve({ columns: [], rows: [['SELECT 1', 'weir']], truncated: true, elapsedMs: 1 })
            })
          },
        },
        { query: { max_concurrent: 1 } },
      ).then(({ url }) => {
        first = call(`${url}/v1/query`, post({ sql: 'SELECT 1' }))
        base = url
        return url
      })
    })
    let first: Promise<Answer> | undefined
    let base = ''
    await arrived
    const second = await call(`${base}/v1/query`, post({ sql: 'SELECT 1' }))
    expect([second.status, second.headers.get('retry-after')]).toEqual([503, '1'])
    release()
    // A cut answer to our own statement is not a parsed form to rely on.
    expect(await first).toMatchObject({ status: 400, body: { code: 'QUERY_REFUSED' } })
  })

  it('stops the query when its caller is gone', async () => {
    let seen: (signal: AbortSignal) => void = () => undefined
    const started = new Promise<AbortSignal>((resolve) => {
      seen = resolve
    })
    const { url } = await serve({
      query: (_, signal) => {
        seen(signal)
        return new Promise(() => undefined)
      },
    })
    const caller = new AbortController()
    const asking = fetch(`${url}/v1/query`, { ...post({ sql: 'SELECT 1' }), signal: caller.signal })
    const signal = await started
    const aborted = new Promise((resolve) => signal.addEventListener('abort', resolve))
    caller.abort()
    await expect(asking).rejects.toThrow('abort')
    await aborted
  })

  it('lists the named queries and refuses an unknown one by name', async () => {
    const { url } = await serve({ query: clickhouse([]) })
    const { body } = await call(`${url}/v1/named-queries`)
    expect((body['queries'] as unknown[]).length).toBe(12)
    const unknown = await call(`${url}/v1/query`, post({ named: 'nope' }))
    expect(unknown.status).toBe(404)
    expect(unknown.body['detail']).toContain(NAMED_QUERIES[0]?.name)
    expect((await call(`${url}/v1/query`, post({ named: 'a', sql: 'SELECT 1' }))).status).toBe(400)
  })
})

describe('api: what it shows and counts', () => {
  it('never shows a token', async () => {
    const parsed = config.parse({ tokens: TOKENS })
    expect(JSON.stringify(parsed)).not.toContain('c4nary')
    const { url } = await serve(
      { health: () => Promise.reject(new Error(`boom ${ADMIN}`)), query: clickhouse([]) },
      { tokens: TOKENS },
    )
    const answers = [
      await call(`${url}/v1/status`, { headers: bearer(ADMIN) }),
      await call(`${url}/v1/query`, post({ sql: 'DROP' }, bearer(ADMIN))),
      await call(`${url}/nope`, { headers: bearer(`${ADMIN}x`) }),
    ]
    expect(answers.map(({ status }) => status)).toEqual([500, 400, 401])
    expect(JSON.stringify(answers.map(({ body }) => body))).not.toContain('c4nary')
    expect(await meter.render()).not.toContain('c4nary')
  })

  it('counts requests by route and status, unknown paths as one', async () => {
    const { url } = await serve({})
    await call(`${url}/v1/status`)
    await call(`${url}/random-path-1`)
    const page = await meter.render()
    expect(page).toMatch(/weir_http_requests\{route="\/v1\/status",status="200"\} \d+/)
    expect(page).toMatch(/weir_http_requests\{route="unknown",status="404"\} \d+/)
    expect(page).not.toContain('random-path')
  })

  it('has a description for every key of its config', () => {
    const walk = (schema: {
      properties?: Record<string, unknown>
      items?: unknown
      description?: string
    }): void => {
      for (const value of Object.values(schema.properties ?? {})) {
        expect(value).toHaveProperty('description')
        walk(value as Parameters<typeof walk>[0])
      }
      if (schema.items !== undefined) walk(schema.items as Parameters<typeof walk>[0])
    }
    walk(z.toJSONSchema(config, { io: 'input' }) as Parameters<typeof walk>[0])
  })
})
