import { expect, test } from 'vitest'
import { Pseudonyms } from '../../pipeline/privacy/pseudonyms.ts'
import type { Principal } from './principal.ts'
import { pseudonymRoute } from './pseudonym.ts'

const pseudonyms = new Pseudonyms()
pseudonyms.use(Buffer.alloc(32, 7))

async function ask(
  body: object,
  principal: Principal = { actor: { id: 'k1', kind: 'key' }, role: 'admin' },
  of: Pseudonyms | undefined = pseudonyms,
) {
  const call = {
    principal,
    params: {},
    query: new URLSearchParams(),
    body,
    signal: AbortSignal.timeout(1000),
  }
  return (await pseudonymRoute(of).handle(call)).body as {
    tenant: string
    pseudonyms: { type: string; pseudonym: string }[]
  }
}

test('one answer for a type, one for each that there is without it', async () => {
  const one = await ask({ value: 'Ada@example.org', type: 'email' })
  expect(one).toEqual({
    tenant: 'default',
    pseudonyms: [{ type: 'email', pseudonym: expect.stringMatching(/^<EMAIL:[0-9a-f]{16}>$/) }],
  })
  const all = (await ask({ value: 'ada@example.org' })).pseudonyms
  expect(all).toContainEqual(one.pseudonyms[0])
  expect(all.length).toBeGreaterThan(10)
  expect((await ask({ value: 'E1', type: 'employee_id' })).pseudonyms[0]!.pseudonym).toMatch(/^<EMPLOYEE_ID:/)
})

test('tenants differ, and the admin of one may not ask for another', async () => {
  const mine = await ask(
    { value: 'a@b.org', type: 'email' },
    { actor: { id: 'k1', kind: 'key' }, role: 'admin', tenant: 'acme' },
  )
  expect(mine.tenant).toBe('acme')
  expect(mine).toEqual(await ask({ value: 'a@b.org', type: 'email', tenant: 'acme' }))
  expect(mine.pseudonyms).not.toEqual(
    (await ask({ value: 'a@b.org', type: 'email', tenant: 'other' })).pseudonyms,
  )
  const asking = ask(
    { value: 'a@b.org', tenant: 'other' },
    { actor: { id: 'k1', kind: 'key' }, role: 'admin', tenant: 'acme' },
  )
  await expect(asking).rejects.toMatchObject({ code: 'PERMISSION_DENIED' })
})

test('no sanitizer, no answer', async () => {
  await expect(
    ask({ value: 'x' }, { actor: { id: 'k1', kind: 'key' }, role: 'admin' }, new Pseudonyms()),
  ).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
})
