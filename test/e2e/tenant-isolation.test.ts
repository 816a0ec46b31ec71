import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ask, PROTOBUF, RawGrpcClient, tracesRequest } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { IdentityClient, signed, type MadeKey } from '../support/identity.ts'
import { until } from '../support/until.ts'

const TENANTS = ['acme', 'acme-2', 'bmce'] as const
type TenantId = (typeof TENANTS)[number]

const ADMIN = 'an-admin-token-of-the-test'
const config = `receivers:
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
    traces/ingest: { receivers: [otlp], processors: [auth], exporters: [wal] }
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
}, 90_000)
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
    { numRuns: 6 },
  )
}, 120_000)

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

/** Tenant and name of this round's spans, as the bearer of `token` sees them, whatever is asked for. */
async function stored(round: string, token: string): Promise<readonly (readonly [string, string])[]> {
  const sql = `SELECT TenantId, SpanName FROM otel_traces WHERE startsWith(SpanName, {round:String}) AND (TenantId != '' OR 1)`
  const response = await fetch(`${daemon.endpoints.api}/v1/query`, {
    method: 'POST',
    headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
    body: JSON.stringify({ sql, params: { round: `${round} ` } }),
  })
  if (!response.ok) throw new Error(`the query failed: ${response.status} ${await response.text()}`)
  const { rows } = (await response.json()) as { rows: [string, string][] }
  return rows
}
