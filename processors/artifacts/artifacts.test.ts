import { randomBytes } from 'node:crypto'
import {
  cpSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import * as fc from 'fast-check'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { LIST_TYPE, MAP_TYPE, parseArtifactRef, type ArtifactName } from '../../pipeline/artifact.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Context } from '../../pipeline/factory.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { Vault } from '../../pipeline/identity/vault.ts'
import { take, type Deletion } from '../../pipeline/retention.ts'
import { Secret } from '../../pipeline/secret.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import { batchOfJson, exporterContext, RECEIVED_AT_MS, testBatch } from '../../test/contract/exporter.ts'
import { requests } from '../../test/otlp/arbitrary.ts'
import { META } from '../../test/otlp/rows-of.ts'
import { Certificates, hasOpenssl } from '../../test/support/certificates.ts'
import { S3Server, type S3Answer } from '../../test/support/s3-server.ts'
import { FRESH_MS, sha256Of } from './archive.ts'
import { ArtifactsProcessor } from './artifacts.ts'
import { config, type Config } from './config.ts'
import { artifacts } from './factory.ts'
import { Shelf } from './shelf.ts'

const RUNS = Number(process.env['WEIR_ARTIFACT_RUNS'] ?? 4)
const NEVER = new AbortController().signal
const PLACES = ['directory, sealed', 'directory, clear', 'bucket', 'bucket, sealed'] as const
type PlaceName = (typeof PLACES)[number]

const home = mkdtempSync(join(tmpdir(), 'weir-artifacts-'))
const state = new EmbeddedState(join(home, 'state'))
let server: S3Server
let directory: string
let clock = RECEIVED_AT_MS
const stops: (() => Promise<unknown>)[] = []

beforeAll(async () => {
  await state.open()
  server = await S3Server.start()
})
afterAll(async () => {
  await state.close()
  await server.close()
  rmSync(home, { recursive: true })
})
beforeEach(() => {
  directory = mkdtempSync(join(home, 'place-'))
  clock = RECEIVED_AT_MS
})
afterEach(async () => {
  server.rule = () => 'take'
  server.requests.length = 0
  for (const stop of stops.splice(0)) await stop()
})

function settingsOf(place: PlaceName, more: object = {}): Config {
  const sealed = place.endsWith('sealed')
  const where = place.startsWith('bucket')
    ? { s3uploader: { ...server.place, retry_mode: 'nop', s3_prefix: directory.slice(1) } }
    : { directory }
  return config.parse({ ...where, envelope: sealed, timeout: '60s', ...more })
}

const vault = new Vault(new Secret(randomBytes(32).toString('hex')))

function contextOf(more: Partial<Context> = {}): Context {
  return { ...exporterContext('artifacts'), kind: 'processor', state, vault, clock: () => clock, ...more }
}

async function processor(settings: Config, more: Partial<Context> = {}): Promise<ArtifactsProcessor> {
  const made = new ArtifactsProcessor(settings, contextOf(more))
  await made.start()
  stops.push(() => made.stop())
  return made
}

async function shelfOf(settings: Config, more: Partial<Context> = {}): Promise<Shelf> {
  const made = new Shelf(settings, contextOf(more))
  await made.start()
  stops.push(() => made.stop())
  return made
}

interface Attribute {
  readonly key: string
  readonly value: Record<string, unknown>
}
interface Span {
  readonly attributes: Attribute[]
  readonly events: { readonly attributes: Attribute[] }[]
  readonly links: { readonly attributes: Attribute[] }[]
}
interface Out {
  readonly resource: { readonly attributes: Attribute[] }
  readonly scopeSpans: { readonly scope: { readonly attributes: Attribute[] }; readonly spans: Span[] }[]
}

const outOf = (batch: Batch): Out =>
  (JSON.parse(batch.toJson()) as { resourceSpans: Out[] }).resourceSpans[0] as Out
const spanOf = (batch: Batch): Span => outOf(batch).scopeSpans[0]?.spans[0] as Span
const valuesOf = (attributes: Attribute[]) =>
  Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]]))

const withValue = (value: string, meta: { tenant?: string; receivedAtMs?: number } = {}): Batch =>
  testBatch([{ attributes: [{ key: 'gen_ai.prompt', value: { stringValue: value } }] }], meta)

function nameIn(batch: Batch): ArtifactName {
  const ref = valuesOf(spanOf(batch).attributes)['gen_ai.prompt.artifact.ref']
  return parseArtifactRef(String(ref)) as ArtifactName
}

async function objects(place: PlaceName): Promise<Map<string, Buffer>> {
  if (place.startsWith('bucket')) {
    const keys = (await server.keys()).filter((key) => key.startsWith(directory.slice(1)))
    return new Map(await Promise.all(keys.map(async (key) => [key, await server.get(key)] as const)))
  }
  const files = readdirSync(directory, { recursive: true }).map(String)
  const found = files.filter((file) => statSync(join(directory, file)).isFile())
  return new Map(found.map((file) => [file, readFileSync(join(directory, file))]))
}

describe.each(PLACES)('%s', (place) => {
  test('texts, bytes, lists and maps of every place leave preview and reference, and come back as they were', async () => {
    const text = 'ä€😀'.repeat(20_000)
    const png = Buffer.concat([Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'), randomBytes(110_000)])
    const list = { arrayValue: { values: [{ stringValue: 'x'.repeat(110_000) }, { intValue: '7' }] } }
    const map = { kvlistValue: { values: [{ key: 'k', value: { stringValue: 'y'.repeat(110_000) } }] } }
    const only = (key: string, value: object) => [{ key, value }]
    const batch = batchOfJson(
      {
        resourceSpans: [
          {
            resource: { attributes: only('process.environment', { stringValue: text }) },
            scopeSpans: [
              {
                scope: { attributes: only('notes', map) },
                spans: [
                  {
                    attributes: [
                      { key: 'gen_ai.prompt', value: { stringValue: text } },
                      { key: 'short', value: { stringValue: 'stays' } },
                      { key: 'image', value: { bytesValue: png.toString('base64') } },
                    ],
                    events: [{ name: 'e', attributes: only('list', list) }],
                    links: [{ attributes: only('image', { bytesValue: png.toString('base64') }) }],
                  },
                ],
              },
            ],
          },
        ],
      },
      { tenant: 'acme' },
    )
    const contents = batch.largeValues(100 * 1024).map((ref) => Buffer.from(batch.content(ref)))
    expect(contents).toHaveLength(6)
    const settings = settingsOf(place)
    await (await processor(settings)).process(batch)

    const { attributes, events, links } = spanOf(batch)
    const values = valuesOf(attributes)
    const preview = values['gen_ai.prompt'] as string
    expect(text.startsWith(preview)).toBe(true)
    expect(Buffer.byteLength(preview)).toBeGreaterThan(1020)
    expect(Buffer.byteLength(preview)).toBeLessThanOrEqual(1024)
    expect(attributes.map(({ key }) => key)).toEqual([
      'gen_ai.prompt',
      'gen_ai.prompt.artifact.ref',
      'gen_ai.prompt.artifact.sha256',
      'gen_ai.prompt.artifact.size',
      'gen_ai.prompt.artifact.media_type',
      'short',
      'image',
      'image.artifact.ref',
      'image.artifact.sha256',
      'image.artifact.size',
      'image.artifact.media_type',
    ])
    expect(values).toMatchObject({
      'gen_ai.prompt.artifact.ref': `artifact://acme/${sha256Of(Buffer.from(text))}`,
      'gen_ai.prompt.artifact.sha256': sha256Of(Buffer.from(text)),
      'gen_ai.prompt.artifact.size': String(Buffer.byteLength(text)),
      'gen_ai.prompt.artifact.media_type': 'text/plain; charset=utf-8',
      image: '[110008 bytes of image/png]',
      'image.artifact.media_type': 'image/png',
      short: 'stays',
    })
    const listed = valuesOf(events[0]?.attributes ?? [])
    expect(listed['list']).toBe(`["${'x'.repeat(1022)}`)
    expect(listed['list.artifact.media_type']).toBe(LIST_TYPE)
    const mapped = valuesOf(outOf(batch).scopeSpans[0]?.scope.attributes ?? [])
    expect(mapped['notes.artifact.media_type']).toBe(MAP_TYPE)
    expect(valuesOf(links[0]?.attributes ?? [])['image.artifact.sha256']).toBe(sha256Of(png))
    expect(valuesOf(outOf(batch).resource.attributes)['process.environment']).toBe(preview)

    const shelf = await shelfOf(settings)
    const types = new Set<string>()
    for (const content of contents) {
      const found = await shelf.read({ tenant: 'acme', sha256: sha256Of(content) }, NEVER)
      expect(Buffer.from(found.bytes).equals(content)).toBe(true)
      types.add(found.mediaType)
    }
    expect([...types].sort()).toEqual([LIST_TYPE, MAP_TYPE, 'image/png', 'text/plain; charset=utf-8'].sort())
    const stored = await objects(place)
    expect(stored.size).toBe(4)
    for (const [key, bytes] of stored) {
      expect(key).toMatch(/tenant=acme\/([0-9a-f]{2})\/\1[0-9a-f]{62}$/)
      // Long enough not to be met in an image of random bytes: '€' was, in one run of 150.
      const isClear = ['x'.repeat(100), 'y'.repeat(100), 'ä€😀'].some((part) => bytes.includes(part))
      expect(isClear).toBe(!place.endsWith('sealed') && !bytes.includes('\x89PNG', 0, 'latin1'))
    }
    const puts = server.requests.filter(({ method }) => method === 'PUT')
    if (place.startsWith('bucket')) {
      expect(puts).toHaveLength(4)
      for (const { headers } of puts) expect(headers['x-amz-server-side-encryption']).toBe('AES256')
    }
  })

  test('whatever a span holds comes back byte for byte', async () => {
    const settings = { ...settingsOf(place), min_bytes: 12, preview_bytes: 5 }
    const moving = await processor(settings)
    const shelf = await shelfOf(settings)
    await fc.assert(
      fc.asyncProperty(requests(), async (bytes) => {
        const batch = decodeBatch(bytes, META)
        fc.pre(batch.live > 0)
        const contents = batch.largeValues(12).map((ref) => Buffer.from(batch.content(ref)))
        const keys = batch.largeValues(12).map((ref) => batch.key(ref))
        await moving.process(batch)
        const text = batch.toJson()
        for (const [at, content] of contents.entries()) {
          const sha256 = sha256Of(content)
          expect(text).toContain(JSON.stringify(`${keys[at]}.artifact.ref`))
          expect(text).toContain(`artifact://${META.tenant}/${sha256}`)
          const found = await shelf.read({ tenant: META.tenant, sha256 }, NEVER)
          expect(Buffer.from(found.bytes).equals(content)).toBe(true)
        }
        const again = decodeBatch(bytes, META)
        await moving.process(again)
        expect(Buffer.from(again.encode()).equals(batch.encode())).toBe(true)
      }),
      { numRuns: RUNS },
    )
  })

  test('retention deletes what no span can need any more, of each tenant by its own time', async () => {
    const DAY_MS = 86_400_000
    const moving = await processor(settingsOf(place))
    const ages = { old: 32, fresh: 29 }
    for (const tenant of ['acme', 'beta']) {
      for (const word of Object.keys(ages)) await moving.process(withValue(word.repeat(60_000), { tenant }))
    }
    const keyOf = (word: string): string => sha256Of(Buffer.from(word.repeat(60_000)))
    for (const key of (await objects(place)).keys()) {
      const days = key.endsWith(keyOf('old')) ? ages.old : ages.fresh
      const putMs = RECEIVED_AT_MS - days * DAY_MS
      if (place.startsWith('bucket')) await server.age(key, putMs)
      else utimesSync(join(directory, key), putMs / 1000, putMs / 1000)
    }
    writeFileSync(join(directory, 'tenant=notes.txt'), 'not ours')
    const month = RECEIVED_AT_MS - 30 * DAY_MS
    const cutoffs = {
      of: (tenant: string) => (tenant === 'acme' ? month : -Infinity),
      latestMs: month,
      earliestMs: -Infinity,
    }
    const over = { tenant: 'acme', items: 1, unit: 'objects', oldestMs: RECEIVED_AT_MS - 32 * DAY_MS }
    const { retainable } = moving
    expect(await retainable?.survey(cutoffs, NEVER)).toEqual([over])
    const gone = retainable?.expire(cutoffs, NEVER) as AsyncGenerator<Deletion>
    expect(await take(gone, 10)).toEqual([{ ...over, object: 'tenant=acme' }])
    const left = [...(await objects(place)).keys()].filter((key) => key.includes('/'))
    expect(left.map((key) => /tenant=(\w+)/.exec(key)?.[1] + key.slice(-64)).toSorted()).toEqual(
      [`acme${keyOf('fresh')}`, `beta${keyOf('fresh')}`, `beta${keyOf('old')}`].toSorted(),
    )
    expect(await retainable?.survey(cutoffs, NEVER)).toEqual([])
    expect((await processor(settingsOf(place), { counts: false })).retainable).toBeUndefined()
  })

  test('a repeat puts nothing again, here or behind another exporter, while it is fresh', async () => {
    const settings = settingsOf(place)
    const first = await processor(settings)
    const value = 'once '.repeat(30_000)
    const batch = withValue(value)
    await first.process(batch)
    const before = await objects(place)
    const requested = server.requests.length
    const again = withValue(value)
    await first.process(again)
    expect(server.requests).toHaveLength(requested)
    expect(again.toJson()).toBe(batch.toJson())

    const other = withValue(value)
    await (await processor(settings, { counts: false })).process(other)
    expect(other.toJson()).toBe(batch.toJson())
    const methods = server.requests.slice(requested).map(({ method }) => method)
    expect(methods).toEqual(place.startsWith('bucket') ? ['HEAD'] : [])

    // After a restart.
    await (await processor(settings)).process(withValue(value))
    expect([...(await objects(place))]).toEqual([...before])
  })

  test('a span that comes a day after the last put has it put again, so that its age is that of its last use', async () => {
    const settings = settingsOf(place)
    const moving = await processor(settings)
    const value = 'aging '.repeat(30_000)
    await moving.process(withValue(value))
    const [path = ''] = [...(await objects(place)).keys()]
    const puts = () => server.requests.filter(({ method }) => method === 'PUT').length
    if (place.startsWith('directory')) {
      utimesSync(join(directory, path), new Date(RECEIVED_AT_MS), new Date(RECEIVED_AT_MS))
    }
    const before = puts()
    await moving.process(withValue(value, { receivedAtMs: RECEIVED_AT_MS + FRESH_MS }))
    expect(puts()).toBe(before)
    await moving.process(withValue(value, { receivedAtMs: RECEIVED_AT_MS + FRESH_MS + 1 }))
    if (place.startsWith('bucket')) expect(puts()).toBe(before + 1)
    else expect(statSync(join(directory, path)).mtimeMs).not.toBe(RECEIVED_AT_MS)
  })

  test('one tenant has nothing of another, be the content the same', async () => {
    const settings = settingsOf(place)
    const moving = await processor(settings)
    const value = 'shared secret '.repeat(10_000)
    const batch = withValue(value, { tenant: 'acme' })
    await moving.process(batch)
    const name = nameIn(batch)
    const shelf = await shelfOf(settings)
    expect(await shelf.has(name, NEVER)).toBe(true)
    expect(await shelf.has({ ...name, tenant: 'other' }, NEVER)).toBe(false)
    await expect(shelf.read({ ...name, tenant: 'other' }, NEVER)).rejects.toMatchObject({ code: 'NOT_FOUND' })
    await moving.process(withValue(value, { tenant: 'other' }))
    const [mine, theirs] = [...(await objects(place)).values()]
    expect(mine?.length).toBeGreaterThan(0)
    if (place.endsWith('sealed'))
      expect(mine?.subarray(-10_000).equals(theirs?.subarray(-10_000) ?? Buffer.of())).toBe(false)
  })

  test('dropped spans and values below the limit are left where they are', async () => {
    const settings = settingsOf(place)
    const moving = await processor(settings)
    const limit = 100 * 1024
    const batch = withValue('z'.repeat(limit))
    batch.drop(0, 'sampled')
    await moving.process(batch)
    const small = withValue('z'.repeat(limit - 1))
    const before = small.encode()
    await moving.process(small)
    expect(small.encode()).toBe(before)
    expect((await objects(place)).size).toBe(0)
    await moving.process(withValue('z'.repeat(limit)))
    expect((await objects(place)).size).toBe(1)
  })
})

describe('a bucket that does not take', () => {
  test.each([
    ['refuses', { status: 503, code: 'SlowDown' }, /SlowDown/],
    ['is not there', { status: 404, code: 'NoSuchBucket' }, /s3_bucket/],
    ['cuts', 'cut', /artifacts/],
    ['hangs', 'hang', /not stored within 400 ms/],
  ] as const)(
    '%s: the batch is to be tried again, and is then as if nothing had been',
    async (_, answer, message) => {
      const settings = settingsOf('bucket', { timeout: '400ms' })
      const moving = await processor(settings)
      server.rule = () => answer
      const error: unknown = await Promise.resolve(moving.process(withValue('v'.repeat(200_000)))).catch(
        (e: unknown) => e,
      )
      expect(faultOf(error)).toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
      expect(faultOf(error)?.message).toMatch(message)
      server.rule = () => 'take'
      const batch = withValue('v'.repeat(200_000))
      await moving.process(batch)
      const { bytes } = await (await shelfOf(settings)).read(nameIn(batch), NEVER)
      expect(Buffer.from(bytes).toString()).toBe('v'.repeat(200_000))
    },
  )

  test('of batches at once, each hears of its own values only', async () => {
    const settings = settingsOf('bucket')
    const moving = await processor(settings)
    let puts = 0
    server.rule = ({ method }) =>
      method === 'PUT' && puts++ % 3 === 0 ? { status: 503, code: 'SlowDown' } : 'take'
    const batches = Array.from({ length: 24 }, (_, at) => withValue(String(at).padEnd(110_000, '.')))
    const moved = await Promise.allSettled(batches.map(async (batch) => await moving.process(batch)))
    server.rule = () => 'take'
    const taken = batches.filter((_, at) => moved[at]?.status === 'fulfilled')
    expect(taken).toHaveLength(16)
    const shelf = await shelfOf(settings)
    for (const batch of taken) {
      expect((await shelf.read(nameIn(batch), NEVER)).bytes).toHaveLength(110_000)
    }
  })

  test('an answer that is lost: it is put again, to the same key', async () => {
    const moving = await processor(settingsOf('bucket'))
    server.rule = ({ method }) => (method === 'PUT' ? 'lose' : 'take')
    await expect(moving.process(withValue('w'.repeat(200_000)))).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
    })
    server.rule = () => 'take'
    await moving.process(withValue('w'.repeat(200_000)))
    expect((await objects('bucket')).size).toBe(1)
  })
})

test('many at once, bounded: eight and 32 MiB', async () => {
  const moving = await processor(settingsOf('bucket', { timeout: '20s' }))
  let [now, most, bytes, mostBytes] = [0, 0, 0, 0]
  let full = (): void => undefined
  const allThere = new Promise<void>((resolve) => (full = resolve))
  server.rule = async (request): Promise<S3Answer> => {
    now++
    bytes += request.bytes
    most = Math.max(most, now)
    mostBytes = Math.max(mostBytes, bytes)
    // The first wait until there are as many as may be.
    if (now === 8) full()
    await allThere
    now--
    bytes -= request.bytes
    return 'take'
  }
  const attributes = Array.from({ length: 40 }, (_, at) => ({
    key: `p${at}`,
    value: { stringValue: String(at).padEnd(at < 36 ? 110_000 : 9_000_000, '.') },
  }))
  await moving.process(testBatch([{ attributes }]))
  expect((await objects('bucket')).size).toBe(40)
  expect(most).toBe(8)
  expect(mostBytes).toBeLessThanOrEqual(32 * 1024 * 1024)
})

describe('at rest', () => {
  async function stored(): Promise<{ settings: Config; name: ArtifactName; path: string }> {
    const settings = settingsOf('directory, sealed')
    const batch = withValue('sealed '.repeat(20_000), { tenant: 'acme' })
    await (await processor(settings)).process(batch)
    const [path = ''] = [...(await objects('directory, sealed')).keys()]
    return { settings, name: nameIn(batch), path: join(directory, path) }
  }

  test('files and folders are their owner’s alone', async () => {
    const { path } = await stored()
    expect(statSync(path).mode & 0o777).toBe(0o600)
    expect(statSync(dirname(path)).mode & 0o777).toBe(0o700)
  })

  test('any byte that was changed is noticed, and so is a file put under another name or tenant', async () => {
    const { settings, name, path } = await stored()
    const shelf = await shelfOf(settings)
    const good = readFileSync(path)
    for (const at of [0, 9, 20, 60, 200, good.length >> 1, good.length - 1]) {
      const bad = Buffer.from(good)
      bad[at] = (bad[at] ?? 0) ^ 1
      writeFileSync(path, bad)
      await expect(shelf.read(name, NEVER), `byte ${at}`).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' })
    }
    writeFileSync(path, good.subarray(0, 7))
    await expect(shelf.read(name, NEVER)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' })
    writeFileSync(path, good)
    cpSync(join(directory, 'tenant=acme'), join(directory, 'tenant=other'), { recursive: true })
    const theirs = { ...name, tenant: 'other' }
    await expect(shelf.read(theirs, NEVER)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' })
    expect((await shelf.read(name, NEVER)).bytes).toHaveLength(140_000)
  })

  test('without the master key nothing starts, and with another one nothing opens', async () => {
    const { settings, name } = await stored()
    await expect(processor(settings, { vault: undefined })).rejects.toThrow(/master_key.*envelope: false/)
    const other = new Vault(new Secret(randomBytes(32).toString('hex')))
    const shelf = await shelfOf(settings, { vault: other })
    await expect(shelf.read(name, NEVER)).rejects.toMatchObject({ code: 'SECRET_UNREADABLE' })
  })

  test('a key that was made before there was a master key is sealed by its first use afterwards', async () => {
    const settings = settingsOf('directory, clear')
    const before = await shelfOf(settings, { vault: undefined })
    const name = { tenant: 'late', sha256: 'a'.repeat(64) }
    const { query = new URLSearchParams() } = await before.link(name)
    const kept = async () =>
      (await state.list('artifacts.key.late' as never)).map(({ value }) => Buffer.from(value).toString())
    const read = async () => (await state.get('artifacts.key.late' as never))?.value
    expect(Buffer.from((await read()) ?? []).toString()).toContain('plain')
    const after = await shelfOf(settings)
    expect(await after.honours(name, query)).toBe(true)
    expect(Buffer.from((await read()) ?? []).toString()).toContain('sealed')
    expect(Buffer.from((await read()) ?? []).toString()).not.toContain('plain')
    expect(await kept()).toEqual([])
  })

  test('what a killed write left is swept, and a write under way is not', async () => {
    const old = join(directory, '.old.part')
    const fresh = join(directory, '.fresh.part')
    for (const path of [old, fresh]) writeFileSync(path, 'x')
    const past = new Date(Date.now() - 2 * 3_600_000)
    utimesSync(old, past, past)
    await processor(settingsOf('directory, sealed'))
    expect(readdirSync(directory)).toEqual(['.fresh.part'])
  })
})

describe('links', () => {
  test('of ours are good for what they name, until they expire', async () => {
    const settings = settingsOf('directory, sealed')
    const batch = withValue('linked '.repeat(20_000), { tenant: 'acme' })
    await (await processor(settings)).process(batch)
    const name = nameIn(batch)
    const shelf = await shelfOf(settings)
    const { query = new URLSearchParams(), expiresMs, url } = await shelf.link(name)
    expect(url).toBeUndefined()
    expect(expiresMs).toBe(RECEIVED_AT_MS + 3_600_000)
    expect(await shelf.honours(name, query)).toBe(true)
    // By another process of the same installation, too.
    expect(await (await shelfOf(settings)).honours(name, query)).toBe(true)
    const not = (changes: Record<string, string>) => {
      const changed = new URLSearchParams(query)
      for (const [key, value] of Object.entries(changes)) changed.set(key, value)
      return shelf.honours(name, changed)
    }
    expect(await not({ expires: String(expiresMs / 1000 + 1) })).toBe(false)
    expect(await not({ expires: '' })).toBe(false)
    expect(await not({ signature: '' })).toBe(false)
    expect(await not({ signature: `${query.get('signature')}AAAA` })).toBe(false)
    expect(await not({ shelf: 'other' })).toBe(false)
    expect(await shelf.honours({ ...name, tenant: 'other' }, query)).toBe(false)
    expect(await shelf.honours({ ...name, sha256: 'b'.repeat(64) }, query)).toBe(false)
    clock = expiresMs - 1
    expect(await shelf.honours(name, query)).toBe(true)
    clock = expiresMs
    expect(await shelf.honours(name, query)).toBe(false)
  })

  test('of the bucket need nothing else, and are an attachment', async () => {
    const settings = settingsOf('bucket', { link_ttl: '90s' })
    const value = 'from S3 '.repeat(20_000)
    const batch = withValue(value, { tenant: 'acme' })
    await (await processor(settings)).process(batch)
    const shelf = await shelfOf(settings)
    const { url = '', expiresMs } = await shelf.link(nameIn(batch))
    expect(expiresMs).toBe(RECEIVED_AT_MS + 90_000)
    const answer = await fetch(url)
    expect(answer.status).toBe(200)
    expect(answer.headers.get('content-disposition')).toBe(`attachment; filename="${nameIn(batch).sha256}"`)
    expect(answer.headers.get('content-type')).toBe('text/plain; charset=utf-8')
    expect(await answer.text()).toBe(value)
    expect(new URL(url).searchParams.get('X-Amz-Expires')).toBe('90')
    const forged = new URL(url)
    forged.searchParams.set('X-Amz-Expires', '9000')
    expect((await fetch(forged)).status).toBe(403)
    // What is sealed opens here only.
    expect((await (await shelfOf(settingsOf('bucket, sealed'))).link(nameIn(batch))).url).toBeUndefined()
  })
})

test.skipIf(!hasOpenssl)(
  'over TLS, by an authority of its own, read again when its file is replaced',
  async () => {
    const certificates = new Certificates(directory)
    certificates.authority('ca')
    certificates.authority('other')
    certificates.certificate('server', 'ca', 'IP:127.0.0.1')
    const identity = { cert: certificates.read('server.pem'), key: certificates.read('server.key') }
    const secure = await S3Server.start(undefined, identity)
    stops.push(() => secure.close())
    const file = join(directory, 'trusted.pem')
    writeFileSync(file, certificates.read('other.pem'))
    const s3uploader = { ...secure.place, retry_mode: 'nop' }
    const moving = await processor(
      config.parse({ s3uploader, tls: { ca_file: file, reload_interval: '100ms' } }),
    )
    await expect(moving.process(withValue('tls '.repeat(40_000)))).rejects.toThrow(/certificate/)
    writeFileSync(file, certificates.read('ca.pem'))
    await expect
      .poll(() =>
        moving.process(withValue('tls '.repeat(40_000)))?.then(
          () => 'stored',
          () => 'refused',
        ),
      )
      .toBe('stored')
    expect(await secure.keys()).toHaveLength(1)
  },
)

test('the config: one place, and limits that make sense', () => {
  const parse = (value: object) => artifacts.config.safeParse(value).success
  expect(parse({})).toBe(true)
  expect(parse({ directory: 'd', s3uploader: { s3_bucket: 'bucket' } })).toBe(false)
  expect(parse({ min_bytes: 100 })).toBe(false)
  expect(parse({ min_bytes: '4KiB', preview_bytes: '4KiB' })).toBe(false)
  expect(parse({ link_ttl: '200h' })).toBe(false)
})
