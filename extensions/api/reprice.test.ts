import { expect, test } from 'vitest'
import type { RepriceRequest, RepriceResult } from '../../pipeline/reprice.ts'
import { stubHost } from '../../test/support/extension-context.ts'
import { LOCAL } from './principal.ts'
import { repriceRoute } from './reprice.ts'

async function ask(body: object, result: RepriceResult = { models: [], nextMs: undefined }) {
  const asked: RepriceRequest[] = []
  const host = stubHost({
    reprice: (request) => {
      asked.push(request)
      return Promise.resolve(result)
    },
  })
  const call = {
    principal: LOCAL,
    params: {},
    query: new URLSearchParams(),
    body,
    signal: AbortSignal.timeout(1000),
  }
  const reply = await repriceRoute(host).handle(call)
  return { asked: asked[0], body: reply.body as Record<string, unknown> }
}

test('days and instants, what is left to do, and money as text', async () => {
  const model = {
    provider: 'openai',
    model: 'gpt-4o',
    calls: 3,
    changed: 2,
    oldUsd: '0.1',
    newUsd: '0.30000000001',
    oldUnpriced: 1,
    newUnpriced: 0,
  }
  const nextMs = Date.UTC(2026, 7, 1, 6)
  const { asked, body } = await ask(
    { from: '2026-08-01', to: '2026-08-02T02:00:00+02:00', tenant: 'acme', dry_run: true },
    { models: [model], nextMs },
  )
  expect(asked).toEqual({
    fromMs: Date.UTC(2026, 7, 1),
    toMs: Date.UTC(2026, 7, 2),
    tenant: 'acme',
    dryRun: true,
    budgetMs: 30_000,
  })
  expect(body['next']).toBe('2026-08-01T06:00:00.000Z')
  expect(body['models']).toEqual([
    {
      provider: 'openai',
      model: 'gpt-4o',
      calls: 3,
      changed: 2,
      old_usd: '0.1',
      new_usd: '0.30000000001',
      old_unpriced: 1,
      new_unpriced: 0,
    },
  ])
  expect((await ask({ from: '2026-08-01', to: '2026-08-01' })).body['next']).toBeNull()
})

test.each([
  [{ from: '2026-08-02', to: '2026-08-01' }, 'to'],
  [{ from: 'yesterday', to: '2026-08-01' }, 'from'],
  [{ from: '2026-08-01' }, 'to'],
  [{ from: '2026-08-01', to: '9999-01-01' }, 'to'],
  [{ from: '2026-08-01', to: '2026-08-02', tenant: "x' OR 1" }, 'tenant'],
  [{ from: '2026-08-01', to: '2026-08-02', budget_ms: 1e9 }, 'budget_ms'],
  [{ from: '2026-08-01', to: '2026-08-02', dry: true }, 'dry'],
])('%j is refused, naming the field', async (body, field) => {
  await expect(ask(body)).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: expect.stringContaining(field) as string,
  })
})

test('belongs to the admin of the daemon', () => {
  expect(repriceRoute(stubHost({}))).toMatchObject({ role: 'admin', scope: 'daemon' })
})
