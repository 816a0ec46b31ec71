import { request as httpRequest } from 'node:http'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { AuditEntry } from '../../pipeline/audit/audit.ts'
import type { ArtifactName, ArtifactShelf } from '../../pipeline/artifact.ts'
import { sha256Of } from '../../processors/artifacts/archive.ts'
import { FilledShelf } from '../../test/support/artifact-shelf.ts'
import { extensionContext, stubHost } from '../../test/support/extension-context.ts'
import { ApiExtension } from './api.ts'
import { config } from './config.ts'
import { rangeOf } from './range.ts'

const TOKENS = [
  { token: 'admin-token-c4nary-0123', role: 'admin' },
  { token: 'acme-token-c4nary-45678', role: 'read', tenant: 'acme' },
  { token: 'other-token-c4nary-4567', role: 'read', tenant: 'other' },
  { token: 'ingest-token-c4nary-789', role: 'ingest', tenant: 'acme' },
]
const [ADMIN = '', ACME = '', OTHER = '', INGEST = ''] = TOKENS.map(({ token }) => token)
const BYTES = Buffer.from('<script>alert(1)</script>'.repeat(5000))
const NAME: ArtifactName = { tenant: 'acme', sha256: sha256Of(BYTES) }
const PATH = `/v1/artifacts/${NAME.tenant}/${NAME.sha256}`

const { context, meter, close } = extensionContext('api')
let clock = Date.now()
let filled: FilledShelf
const shelves: ArtifactShelf[] = []
const running: ApiExtension[] = []
const entries: AuditEntry[] = []

beforeAll(async () => {
  filled = await FilledShelf.open(() => clock)
  await filled.put('acme', { bytes: BYTES, mediaType: 'text/html' })
  shelves.push(filled.shelf)
})
afterAll(async () => {
  await close()
  await filled.close()
})
afterEach(async () => {
  await Promise.all(running.splice(0).map((each) => each.stop(AbortSignal.timeout(100))))
  clock = Date.now()
  entries.length = 0
})

async function serve(from: readonly ArtifactShelf[] = shelves): Promise<string> {
  const audit = {
    append: (entry: AuditEntry) => Promise.resolve(entries.push(entry)),
    refused: () => undefined,
  }
  const options = config.parse({ endpoint: '127.0.0.1:0', tokens: TOKENS })
  const api = new ApiExtension(options, { ...context, audit }, stubHost({ artifactShelves: () => from }))
  running.push(api)
  await api.start()
  return `http://${api.address}`
}

const ask = (url: string, token: string) => fetch(url, { headers: { authorization: `Bearer ${token}` } })

async function linkAt(url: string): Promise<string> {
  const answer = await ask(`${url}${PATH}`, ACME)
  expect(answer.status).toBe(200)
  const { ref, url: link, expires } = (await answer.json()) as { ref: string; url: string; expires: string }
  expect(ref).toBe(`artifact://acme/${NAME.sha256}`)
  expect(Date.parse(expires) - clock).toBeGreaterThan(3_590_000)
  return new URL(link, url).href
}

test('who may read the tenant gets a link, which needs no token; what it gives no browser runs', async () => {
  const url = await serve()
  const link = await linkAt(url)
  const answer = await fetch(link, { headers: { 'sec-fetch-site': 'cross-site', 'user-agent': 'curl/8' } })
  expect(answer.status).toBe(200)
  expect(Buffer.from(await answer.arrayBuffer()).equals(BYTES)).toBe(true)
  expect(Object.fromEntries(answer.headers)).toMatchObject({
    'accept-ranges': 'bytes',
    'cache-control': 'private, no-store',
    'content-disposition': `attachment; filename="${NAME.sha256}"`,
    'content-length': String(BYTES.length),
    'content-security-policy': "default-src 'none'; sandbox",
    'content-type': 'text/html',
    etag: `"${NAME.sha256}"`,
    'x-content-type-options': 'nosniff',
  })
  expect(entries.filter(({ action }) => action === 'artifact.read')).toEqual([
    {
      actor: { id: 'link', kind: 'sender' },
      action: 'artifact.read',
      object: NAME.sha256,
      tenant: 'acme',
      outcome: 'ok',
      address: '127.0.0.1',
      userAgent: 'curl/8',
    },
  ])
  const metrics = JSON.stringify(await meter.snapshot())
  expect(metrics).toContain('"route":"/v1/artifacts/{tenant}/{sha256}/content","status":"200"')
  expect(metrics).not.toContain(NAME.sha256)
})

test('of another tenant, of none and of what is not there is told the same', async () => {
  const url = await serve()
  const told = async (path: string, token: string) => {
    const answer = await ask(`${url}${path}`, token)
    return [answer.status, ((await answer.json()) as { detail: string }).detail]
  }
  const nothing = await told(`/v1/artifacts/acme/${'0'.repeat(64)}`, ACME)
  expect(nothing[0]).toBe(404)
  expect(await told(PATH, OTHER)).toEqual(nothing)
  expect(await told(`/v1/artifacts/nobody/${NAME.sha256}`, ADMIN)).toEqual(nothing)
  expect(await told(`/v1/artifacts/acme/${NAME.sha256.toUpperCase()}`, ACME)).toEqual(nothing)
  expect(await told('/v1/artifacts/..%2Facme/x', ACME)).toEqual(nothing)
  expect((await ask(`${url}${PATH}`, INGEST)).status).toBe(403)
  expect((await ask(`${url}${PATH}`, 'nobody')).status).toBe(401)
  expect((await ask(`${url}${PATH}`, ADMIN)).status).toBe(200)
})

test('a link that was changed, is of another, or has expired gives nothing', async () => {
  const url = await serve()
  const link = await linkAt(url)
  const status = async (change: (url: URL) => void) => {
    const changed = new URL(link)
    change(changed)
    return (await fetch(changed)).status
  }
  expect(await status(() => undefined)).toBe(200)
  expect(await status(({ searchParams }) => searchParams.set('expires', '99999999999'))).toBe(403)
  expect(await status(({ searchParams }) => searchParams.delete('signature'))).toBe(403)
  expect(await status(({ searchParams }) => searchParams.set('shelf', 'x'))).toBe(403)
  expect(await status((each) => (each.pathname = each.pathname.replace('acme', 'other')))).toBe(403)
  expect(await status((each) => (each.pathname = each.pathname.replace(NAME.sha256, '1'.repeat(64))))).toBe(
    403,
  )
  const reads = () => entries.filter(({ action }) => action === 'artifact.read').length
  expect(reads()).toBe(1)
  clock += 3_600_001
  expect(await status(() => undefined)).toBe(403)
  expect(reads()).toBe(1)
  const posted = await fetch(link, { method: 'POST' })
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
})

test('parts of it, and its head', async () => {
  const link = await linkAt(await serve())
  const part = await fetch(link, { headers: { range: 'bytes=8-12' } })
  expect([part.status, await part.text()]).toEqual([206, 'alert'])
  expect(part.headers.get('content-range')).toBe(`bytes 8-12/${BYTES.length}`)
  const beyond = await fetch(link, { headers: { range: `bytes=${BYTES.length}-` } })
  expect([beyond.status, beyond.headers.get('content-range')]).toEqual([416, `bytes */${BYTES.length}`])
  const head = await fetch(link, { method: 'HEAD' })
  expect([head.status, head.headers.get('content-length'), await head.text()]).toEqual([
    200,
    String(BYTES.length),
    '',
  ])
})

test('four at once; a fifth is asked to come again, and may once one of them is done', async () => {
  const [real] = shelves
  if (real === undefined) throw new Error('no shelf')
  let finish = (): void => undefined
  const held = new Promise<void>((resolve) => (finish = resolve))
  const slow: ArtifactShelf = {
    id: real.id,
    has: (name, signal) => real.has(name, signal),
    link: (name) => real.link(name),
    honours: (name, query) => real.honours(name, query),
    read: async (name, signal) => held.then(() => real.read(name, signal)),
  }
  const link = await linkAt(await serve([slow]))
  const begun = Array.from({ length: 4 }, () => fetch(link))
  await expect.poll(() => entries.filter(({ action }) => action === 'artifact.read').length).toBe(4)
  const fifth = await fetch(link)
  expect([fifth.status, fifth.headers.get('retry-after')]).toEqual([503, '1'])
  finish()
  for (const answer of await Promise.all(begun)) {
    expect(Buffer.from(await answer.arrayBuffer()).equals(BYTES)).toBe(true)
  }
  await expect.poll(async () => (await fetch(link)).status).toBe(200)
})

test('who goes away gives back their place', async () => {
  const link = await linkAt(await serve())
  for (let i = 0; i < 6; i++) {
    await new Promise<void>((resolve) => {
      const asked = httpRequest(link, (answer) => answer.once('data', () => asked.destroy()))
      asked.once('close', resolve).on('error', () => undefined)
      asked.end()
    })
  }
  await expect.poll(async () => (await fetch(link)).status).toBe(200)
})

test('who is gone before their link was looked at takes no place, and no memory once what they asked for is read', async () => {
  const [real] = shelves
  if (real === undefined) throw new Error('no shelf')
  const waiting: (() => void)[] = []
  let holds: 'honours' | 'read' | undefined = 'honours'
  let gone = 0
  const hold = (where: typeof holds) =>
    holds === where ? new Promise<void>((resolve) => waiting.push(resolve)) : undefined
  const slow: ArtifactShelf = {
    id: real.id,
    has: (name, signal) => real.has(name, signal),
    link: (name) => real.link(name),
    honours: async (name, query) => {
      await hold('honours')
      return real.honours(name, query)
    },
    read: async (name, signal) => {
      signal.addEventListener('abort', () => gone++)
      await hold('read')
      return real.read(name, signal)
    },
  }
  const url = await serve([slow])
  const link = await linkAt(url)
  const leave = async (count: number): Promise<void> => {
    const asked = Array.from({ length: count }, () =>
      httpRequest(link)
        .on('error', () => undefined)
        .end(),
    )
    await expect.poll(() => waiting.length).toBe(count)
    await Promise.all(
      asked.map((one) => new Promise<void>((resolve) => void one.once('close', resolve).destroy())),
    )
  }
  const letGo = (): void => waiting.splice(0).forEach((go) => go())
  await leave(5)
  // The server has heard of it by then.
  await linkAt(url)
  letGo()
  holds = undefined
  await expect.poll(async () => (await fetch(link)).status).toBe(200)
  holds = 'read'
  gone = 0
  await leave(4)
  await expect.poll(() => gone).toBe(4)
  // What they asked for is in memory still.
  expect((await fetch(link)).status).toBe(503)
  holds = undefined
  letGo()
  await expect.poll(async () => (await fetch(link)).status).toBe(200)
})

describe('a range', () => {
  test.each([
    [undefined, undefined],
    ['bytes=0-0', [0, 1]],
    ['bytes=0-', [0, 10]],
    ['bytes=3-99', [3, 10]],
    ['bytes=-3', [7, 10]],
    ['bytes=-99', [0, 10]],
    ['bytes=-0', 'none'],
    ['bytes=10-', 'none'],
    ['bytes=5-4', undefined],
    ['bytes=0-1,3-4', undefined],
    ['bytes=-', undefined],
    ['items=0-1', undefined],
  ] as const)('%s of 10 bytes', (header, range) => {
    expect(rangeOf(header, 10)).toEqual(range)
  })
})
