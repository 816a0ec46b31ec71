import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { runVerb } from '../test/support/api-on-chdb.ts'
import { verb } from './reprice.ts'

/** The verb alone, against an API that answers in two parts; test/e2e/reprice.test.ts has the daemon. */

let server: Server | undefined
afterEach(() => void server?.close())

const asked: unknown[] = []
const ANSWERS: Readonly<Record<string, object>> = {
  '2026-08-01': {
    models: [line('gpt-4o', 3, 2, '0.1', '0.3', 1, 0), line('same', 5, 0, '7', '7', 0, 0)],
    next: '2026-08-09T12:00:00.000Z',
  },
  '2026-08-09T12:00:00.000Z': {
    models: [
      line('gpt-4o', 1, 1, '0.000000000001', '0.2', 0, 0),
      line('evil\u001b[2J', 1, 1, '2', '1', 0, 0),
    ],
    next: null,
  },
}

function line(
  model: string,
  calls: number,
  changed: number,
  old: string,
  fresh: string,
  was: number,
  is: number,
) {
  const counts = { calls, changed, old_unpriced: was, new_unpriced: is }
  return { provider: 'openai', model, ...counts, old_usd: old, new_usd: fresh }
}

async function run(...args: readonly string[]) {
  asked.length = 0
  server = createServer((request, response) => {
    const chunks: Buffer[] = []
    request.on('data', (chunk: Buffer) => chunks.push(chunk))
    request.on('end', () => {
      const body = JSON.parse(Buffer.concat(chunks).toString()) as { from: string }
      asked.push(body)
      response.end(JSON.stringify(ANSWERS[body.from]))
    })
  }).listen(0, '127.0.0.1')
  await new Promise((resolve) => server?.once('listening', resolve))
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return runVerb(verb, [...args, '--endpoint', url])
}

const RANGE = ['--from', '2026-08-01', '--to', '2026-09-01']

it('goes on until all is done, and adds up exactly', async () => {
  const { code, out } = await run(...RANGE, '--tenant', 'acme', '--json')
  expect(code).toBe(0)
  const common = { to: '2026-09-01', tenant: 'acme', dry_run: false }
  expect(asked).toEqual([
    { ...common, from: '2026-08-01' },
    { ...common, from: '2026-08-09T12:00:00.000Z' },
  ])
  const { models, total } = JSON.parse(out) as { models: Record<string, unknown>[]; total: object }
  expect(models.find(({ model }) => model === 'gpt-4o')).toMatchObject({
    calls: 4,
    changed: 3,
    old_usd: '0.100000000001',
    new_usd: '0.5',
    old_unpriced: 1,
    new_unpriced: 0,
  })
  expect(total).toMatchObject({ calls: 10, changed: 4, old_usd: '9.100000000001', new_usd: '8.5' })
})

it('prints what changes by model, and no control character of the data', async () => {
  const { out } = await run(...RANGE, '--dry-run')
  expect(out).toContain('dry run: nothing was written')
  expect(out).toContain('1 model without a change not shown')
  expect(out).toMatch(/gpt-4o +4 +3 +0\.100000000001 +0\.5 +\+0\.399999999999 +1 → 0/)
  expect(out).toMatch(/total +10 +4 /)
  expect(out).not.toContain('\u001b')
})

it.each([
  [[]],
  [['--from', '2026-08-01']],
  [['--from', 'yesterday', '--to', '2026-08-01']],
  [[...RANGE, 'x']],
])('refuses %j as usage', async (args) => {
  await expect(run(...args)).rejects.toMatchObject({ name: 'UsageError' })
  expect(asked).toEqual([])
})
