import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ask, JSON_TYPE, PROTOBUF, RawGrpcClient, tracesRequest } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { IdentityClient, signed, type MadeKey } from '../support/identity.ts'
import { until } from '../support/until.ts'

const TENANTS = ['acme', 'acme-2', 'bmce'] as const
type TenantId = (typeof TENANTS)[number]

const ADMIN = 'an-admin-token-of-the-test'
const config = `receivers:
  toon: {}
  otlp: { protocols: { grpc: { endpoint: 127.0.0.1:0 }, http: { endpoint: 127.0.0.1:0 } } }
processors:
  auth: { methods: [api_key, hmac] }
connectors:
  wal: { driver: embedded }
exporters:
  clickhouse: { endpoint: embedded }
extensions:
  state: { master_key: "${'7f'.repeat(32)}" }
  api: { tokens: [{ token: ${ADMIN}, role: admin }] }
  health: {}
service:
  extensions: [state, api, health]
  pipelines:
    traces/ingest: { receivers: [otlp, toon], processors: [auth], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [clickhouse] }
`

interface Credentials {
  readonly api: MadeKey
  readonly hmac: MadeKey
  readonly reader: MadeKey
}

let daemon: Daemon
const senders = new Map<TenantId, Credentials>()

beforeAll(async () => {
  daemon = await startDaemon({ config })
  await daemon.ready()
  const identity = new IdentityClient(daemon.endpoints.api, ADMIN)
  for (const tenant of TENANTS) {
    await identity.tenant(tenant)
    // The same names below every tenant, on purpose.
    await identity.call('POST', `/v1/tenants/${tenant}/projects`, { id: 'shop' })
    await identity.call('POST', `/v1/tenants/${tenant}/agents`, { id: 'planner' })
    senders.set(tenant, {
      api: await identity.key({ tenant, project: 'shop', agent: 'planner' }),
      hmac: await identity.key({ kind: 'hmac', tenant }),
      reader: await identity.key({ tenant, roles: ['read'] }),
    })
  }
})
afterAll(() => daemon.stop())

/** One request: the same few bodies and idempotency keys for everybody, and a claim to be somebody. */
const request = fc.record({
  tenant: fc.constantFrom(...TENANTS),
  claims: fc.constantFrom(...TENANTS),
  body: fc.nat(3),
  key: fc.option(fc.nat(2), { nil: undefined }),
  way: fc.constantFrom('http', 'grpc', 'signed' as const),
})
type Sent = typeof request extends fc.Arbitrary<infer T> ? T : never

let rounds = 0

it('nothing of a tenant is seen, stored or swallowed by another', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 20, maxLength: 40 }), async (requests) => {
      const round = `round${rounds++}`
      const expected = new Map<TenantId, string[]>(TENANTS.map((tenant) => [tenant, []]))
      const known = new Set<string>()
      for (const each of requests) {
        await send(each, round)
        // A repeat is one by its key, else by its bytes, among its own tenant's requests.
        const same = `${each.tenant}/${each.key === undefined ? `body ${each.body}` : `key ${each.key}`}`
        if (!known.has(same)) expected.get(each.tenant)?.push(`${round} ${each.body}`)
        known.add(same)
      }
      const total = [...expected.values()].flat().length
      await until(async () => (await stored(round, ADMIN)).length === total)
      for (const tenant of TENANTS) {
        const own = expected.get(tenant)?.sort()
        const all = (await stored(round, ADMIN)).filter(([owner]) => owner === tenant)
        expect(all.map(([, name]) => name).sort()).toEqual(own)
        const seen = await stored(round, senders.get(tenant)?.reader.secret ?? '')
        expect(seen.map(([owner, name]) => `${owner} ${name}`).sort()).toEqual(
          own?.map((name) => `${tenant} ${name}`),
        )
      }
    }),
    { numRuns: 4 },
  )
}, 240_000)

async function send({ tenant, claims, body, key, way }: Sent, round: string): Promise<void> {
  const own = senders.get(tenant)
  const bytes = tracesRequest(`${round} ${body}`)
  if (own === undefined) throw new Error(`${tenant} has no keys`)
  const path = '/v1/traces'
  const headers = {
    'x-tenant-id': claims,
    'x-scope-orgid': claims,
    'x-weir-tenant': claims,
    ...(key !== undefined && { 'idempotency-key': `${round}-${key}` }),
    ...(way === 'signed'
      ? signed({ key: own.hmac, tenant, path, body: bytes })
      : { authorization: `Bearer ${own.api.secret}` }),
  }
  if (way === 'grpc') {
    const client = new RawGrpcClient(daemon.endpoints.grpc)
    const { code } = await client.export(bytes, { headers })
    client.close()
    expect(code).toBe(0)
    return
  }
  const port = Number(new URL(daemon.endpoints.http).port)
  const { status } = await ask(port, { headers: { ...PROTOBUF, ...headers }, body: bytes })
  expect(status).toBe(200)
}

it("a run is its tenant's, whatever it is called: its events, numbers, keys, answers and its end", async () => {
  const run = fc.uuid()
  const step = fc.record({
    tenant: fc.constantFrom(...TENANTS),
    claims: fc.constantFrom(...TENANTS),
    does: fc.constantFrom('append' as const, 'append', 'append', 'finish', 'read'),
    key: fc.nat(2),
  })
  await fc.assert(
    fc.asyncProperty(run, fc.array(step, { minLength: 15, maxLength: 30 }), async (id, steps) => {
      // The first tenant alone has begun the run yet: for the others there is none.
      const [first] = TENANTS
      await toon(first, first, 'POST', '/v1/runs', { run_id: id, agent_id: 'planner' }, 201)
      for (const other of TENANTS.slice(1)) {
        await toon(other, first, 'GET', `/v1/runs/${id}`, undefined, 404)
        await toon(other, first, 'POST', `/v1/runs/${id}/finish`, { status: 'failed' }, 404)
        await toon(other, first, 'POST', '/v1/runs', { run_id: id, agent_id: 'planner' }, 201)
      }
      const runs = new Map(
        TENANTS.map((tenant) => [tenant, { keys: new Map<number, number>(), closed: false }]),
      )
      for (const { tenant, claims, does, key } of steps) {
        const own = runs.get(tenant)
        if (own === undefined) throw new Error('no such tenant')
        if (does === 'append') {
          const known = own.keys.get(key)
          const events = [0, 1].map((n) => ({
            t: '2026-01-01T00:00:00Z',
            actor: 'agent',
            type: 'reasoning',
            payload: { thought: `of ${tenant} ${key} ${n}` },
          }))
          const answer = await toon(
            tenant,
            claims,
            'POST',
            `/v1/runs/${id}/events`,
            events,
            own.closed && known === undefined ? 409 : 202,
            `key-${key}`,
          )
          if (known === undefined && !own.closed) own.keys.set(key, own.keys.size * 2 + 1)
          // The numbers go on from this tenant's own, and a repeat gets the first answer.
          if (!own.closed || known !== undefined)
            expect(answer).toMatchObject({ accepted: 2, first_seq: known ?? own.keys.get(key) })
        } else if (does === 'finish' && !own.closed) {
          own.closed = true
          await toon(tenant, claims, 'POST', `/v1/runs/${id}/finish`, { status: 'completed' }, 200)
        }
        const state = await toon(tenant, claims, 'GET', `/v1/runs/${id}`, undefined, 200)
        expect(state).toMatchObject({
          status: own.closed ? 'completed' : 'running',
          events: own.keys.size * 2,
        })
      }
      const spans = [...runs].map(
        ([tenant, { keys, closed }]) => [tenant, keys.size * 2 + Number(closed)] as const,
      )
      await until(
        async () => (await runSpans(id, ADMIN)).length === spans.reduce((sum, [, count]) => sum + count, 0),
      )
      for (const [tenant, count] of spans) {
        const seen = await runSpans(id, senders.get(tenant)?.reader.secret ?? '')
        expect(seen).toHaveLength(count)
        expect(
          seen.every(
            ([owner, payload]) => owner === tenant && (payload === '' || payload.includes(`"of ${tenant} `)),
          ),
        ).toBe(true)
      }
    }),
    { numRuns: 3 },
  )
}, 240_000)

async function toon(
  tenant: TenantId,
  claims: TenantId,
  method: string,
  path: string,
  value: object | undefined,
  status: number,
  key?: string,
): Promise<unknown> {
  const own = senders.get(tenant)
  const headers = {
    ...JSON_TYPE,
    authorization: `Bearer ${own?.api.secret ?? ''}`,
    'x-tenant-id': claims,
    ...(key !== undefined && { 'idempotency-key': key }),
  }
  const body = value && Buffer.from(JSON.stringify(value))
  const answer = await ask(Number(new URL(daemon.endpoints.toon).port), {
    method,
    path,
    headers,
    ...(body && { body }),
  })
  expect([tenant, method, path, answer.status, answer.status === status ? '' : String(answer.body)]).toEqual([
    tenant,
    method,
    path,
    status,
    '',
  ])
  return JSON.parse(answer.body.toString()) as unknown
}

/** Tenant and payload of the run's spans, as the bearer of `token` sees them. */
function runSpans(id: string, token: string): Promise<readonly (readonly [string, string])[]> {
  return rowsOf(
    "SELECT TenantId, SpanAttributes['toon.payload'] FROM otel_traces WHERE RunId = {id:String}",
    { id },
    token,
  )
}

/** Tenant and name of this round's spans, as the bearer of `token` sees them, whatever is asked for. */
async function stored(round: string, token: string): Promise<readonly (readonly [string, string])[]> {
  const sql = `SELECT TenantId, SpanName FROM otel_traces WHERE startsWith(SpanName, {round:String}) AND (TenantId != '' OR 1)`
  return rowsOf(sql, { round: `${round} ` }, token)
}

async function rowsOf(
  sql: string,
  params: object,
  token: string,
): Promise<readonly (readonly [string, string])[]> {
  const response = await fetch(`${daemon.endpoints.api}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql, params }),
  })
  if (!response.ok) throw new Error(`the query failed: ${response.status} ${await response.text()}`)
  const { rows } = (await response.json()) as { rows: [string, string][] }
  return rows
}
