import { afterEach, expect, test } from 'vitest'
import { MemoryState } from '../../test/contract/wal-memory.ts'
import { requestBatch } from '../../test/contract/wal-spans.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { LetterDesk } from '../../pipeline/wal/letter-desk.ts'
import { ApiExtension } from './api.ts'
import { config } from './config.ts'

const undo: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

const TOKENS = {
  root: { token: 'token-of-the-daemon', role: 'admin' },
  acme: { token: 'token-of-acme-admin', role: 'admin', tenant: 'acme' },
  reader: { token: 'token-of-a-reader-', role: 'read', tenant: 'acme' },
} as const

/** An API over two dead letters, `c@1.0` of acme and `c@2.0` of umbrella. */
async function setup() {
  const common = { connector: 'wal', state: new MemoryState(), clock: Date.now }
  const letters = new DeadLetters({ ...common, meter: createMeter(), maxBytes: 1e6 })
  const facts = {
    cursor: 'c',
    component: 'x',
    project: '',
    principal: '',
    source: '',
    receivedAtMs: 0,
    row: 0,
  }
  const body = requestBatch(['lost']).encode()
  const more = { reason: 'Too Large', spans: 1, attempts: 2, format: 'otlp', body } as const
  await letters.put(['acme', 'umbrella'].map((tenant, at) => ({ ...facts, ...more, tenant, seq: at + 1 })))
  const desk = new LetterDesk({ ...common, letters })
  const { context, close } = extensionContext('api')
  const parsed = config.parse({ endpoint: '127.0.0.1:0', tokens: Object.values(TOKENS) })
  const api = new ApiExtension(parsed, context, stubHost({ letterDesks: () => [desk] }))
  await api.start()
  undo.push(close, () => api.stop(AbortSignal.timeout(1000)))
  return async (who: keyof typeof TOKENS, path: string, order?: unknown) => {
    const answer = await fetch(`http://${api.address}/v1/dead-letters${path}`, {
      headers: { authorization: `Bearer ${TOKENS[who].token}`, 'content-type': 'application/json' },
      ...(order !== undefined && { method: 'POST', body: JSON.stringify(order) }),
    })
    return { status: answer.status, body: (await answer.json()) as Record<string, unknown> }
  }
}

const idsOf = ({ body }: { body: Record<string, unknown> }) =>
  (body['dead_letters'] as { id: string }[]).map(({ id }) => id)

test('an admin of one tenant sees and deletes that one’s only; a reader nothing', async () => {
  const call = await setup()
  expect(idsOf(await call('root', ''))).toEqual(['c@1.0', 'c@2.0'])
  expect(idsOf(await call('acme', ''))).toEqual(['c@1.0'])
  expect(idsOf(await call('acme', '?tenant=umbrella'))).toEqual(['c@1.0'])
  expect((await call('acme', '/c%402.0')).status).toBe(404)
  for (const path of ['', '/c%401.0']) expect((await call('reader', path)).status).toBe(403)
  expect((await call('reader', '/purge', { all: true })).status).toBe(403)
  const purged = await call('acme', '/purge', { all: true })
  expect(purged.body).toEqual({ letters: 1, spans: 1, failed: [], left: 0 })
  expect(idsOf(await call('root', ''))).toEqual(['c@2.0'])
})

test('one is shown with what it holds', async () => {
  const { body } = await (await setup())('root', '/c%401.0')
  expect(body['dead_letter']).toMatchObject({
    id: 'c@1.0',
    connector: 'wal',
    reason: 'Too Large',
    attempts: 2,
  })
  expect(JSON.stringify(body['content'])).toContain('"name":"lost"')
})

test('filters, limits, and no order without saying which', async () => {
  const call = await setup()
  expect(idsOf(await call('root', '?reason=too&limit=1'))).toEqual(['c@1.0'])
  expect(idsOf(await call('root', '?component=y'))).toEqual([])
  expect(idsOf(await call('root', '?until=2020-01-01T00:00:00Z'))).toEqual([])
  for (const order of [{}, { limit: 5 }, { since: 'yesterday' }, { ids: [] }]) {
    expect((await call('root', '/purge', order)).status, JSON.stringify(order)).toBe(400)
  }
  expect((await call('root', '/purge', { all: true, limit: 1 })).body).toMatchObject({ letters: 1, left: 1 })
  // Nothing sends letters of this desk into a log.
  const { body } = await call('root', '/retry', { ids: ['c@2.0'] })
  expect(body).toMatchObject({ letters: 0, failed: [{ id: 'c@2.0' }] })
})
