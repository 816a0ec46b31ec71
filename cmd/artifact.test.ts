import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { artifactRef, LIST_TYPE, type ArtifactName } from '../pipeline/artifact.ts'
import { ApiExtension } from '../extensions/api/api.ts'
import { config } from '../extensions/api/config.ts'
import { ATTR, type AttrRef } from '../pipeline/batch/batch.ts'
import { testBatch } from '../test/contract/exporter.ts'
import { runVerb } from '../test/support/api-on-chdb.ts'
import { FilledShelf } from '../test/support/artifact-shelf.ts'
import { extensionContext, stubHost } from '../test/support/extension-context.ts'
import { verb } from './artifact.ts'
import type { Io } from './verb.ts'

const { context, close } = extensionContext('api')
const home = mkdtempSync(join(tmpdir(), 'weir-verb-'))
let filled: FilledShelf
let api: ApiExtension

beforeAll(async () => {
  filled = await FilledShelf.open()
  const host = stubHost({ artifactShelves: () => [filled.shelf] })
  api = new ApiExtension(config.parse({ endpoint: '127.0.0.1:0' }), context, host)
  await api.start()
})
afterAll(async () => {
  await api.stop(AbortSignal.timeout(1000))
  await close()
  await filled.close()
  rmSync(home, { recursive: true })
})

const weir = (argv: string[], io: Partial<Io> = {}) =>
  runVerb(verb, [...argv, '--endpoint', `http://${api.address}`], io)
const put = (bytes: Uint8Array, mediaType: string): Promise<ArtifactName> =>
  filled.put('acme', { bytes, mediaType })

test('bytes to a file, as they were', async () => {
  const bytes = Buffer.from([0, 255, 10, 13, 128, 1])
  const ref = artifactRef(await put(bytes, 'image/png'))
  const file = join(home, 'picture.png')
  const { code, out, err } = await weir(['get', ref, '-o', file])
  expect([code, out, err]).toEqual([0, '', `6 bytes (image/png) in ${file}`])
  expect(readFileSync(file).equals(bytes)).toBe(true)
  await weir(['get', ref, '-o', file])
  expect(readdirSync(home)).toEqual(['picture.png'])
  const nowhere = join(home, 'no', 'where')
  await expect(weir(['get', ref, '-o', nowhere])).rejects.toMatchObject({
    code: 'REQUEST_INVALID',
    message: `--output ${nowhere}: its directory does not exist`,
  })
  await expect(weir(['get', ref, '-o', home])).rejects.toThrow(/that is a directory/)
  expect(readdirSync(home)).toEqual(['picture.png'])
})

test('a text to stdout; on a terminal it moves nothing', async () => {
  const ref = artifactRef(await put(Buffer.from('one\n\u001b[2Jtwo\n'), 'text/plain; charset=utf-8'))
  expect(await weir(['get', ref])).toMatchObject({ code: 0, out: 'one\n\u001b[2Jtwo\n' })
  expect(await weir(['get', ref], { tty: true })).toMatchObject({ code: 0, out: 'one\n\\u001b[2Jtwo\n' })
})

test('a list as OTLP/JSON, or as its bytes', async () => {
  const list = { arrayValue: { values: [{ stringValue: 'x' }, { intValue: '7' }] } }
  const batch = testBatch([{ attributes: [{ key: 'list', value: list }] }])
  const { first } = batch.attrs(0, 'span')
  expect(batch.type(first as AttrRef)).toBe(ATTR.array)
  const bytes = Buffer.from(batch.content(first as AttrRef))
  const ref = artifactRef(await put(bytes, LIST_TYPE))
  const { out } = await weir(['get', ref, '--json'])
  expect(JSON.parse(out)).toEqual({ values: [{ stringValue: 'x' }, { intValue: '7' }] })
  const file = join(home, 'list')
  await weir(['get', ref, '-o', file])
  expect(readFileSync(file).equals(bytes)).toBe(true)
})

test('a URL that needs nothing else', async () => {
  const ref = artifactRef(await put(Buffer.from('linked'), 'text/plain'))
  const { out } = await weir(['url', ref])
  expect(await (await fetch(out)).text()).toBe('linked')
})

test('what is not the artifact is not written', async () => {
  const { sha256 } = await put(Buffer.from('true'), 'text/plain')
  const liar = createServer((request, response) => {
    const isLink = request.url === '/liar'
    response.end(isLink ? 'false' : JSON.stringify({ url: '/liar' }))
  })
  await new Promise<void>((resolve) => liar.listen(0, '127.0.0.1', resolve))
  const endpoint = `http://127.0.0.1:${(liar.address() as AddressInfo).port}`
  const file = join(home, 'lie')
  await expect(runVerb(verb, ['get', `acme/${sha256}`, '-o', file, '--endpoint', endpoint])).rejects.toThrow(
    /SHA-256 is another/,
  )
  expect(readdirSync(home)).not.toContain('lie')
  liar.close()
})

test('wrong calls', async () => {
  for (const argv of [[], ['get'], ['get', 'x'], ['show', `acme/${'a'.repeat(64)}`]]) {
    await expect(weir(argv)).rejects.toMatchObject({ name: 'UsageError' })
  }
  await expect(weir(['get', `acme/${'a'.repeat(64)}`])).rejects.toMatchObject({ code: 'NOT_FOUND' })
  const ref = artifactRef(await put(Buffer.from('text'), 'text/plain'))
  await expect(weir(['get', ref, '--json'])).rejects.toMatchObject({ name: 'UsageError' })
})
