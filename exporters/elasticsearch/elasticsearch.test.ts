import { afterEach, expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { keyId } from '../../pipeline/batch/keys.ts'
import { exporterContext, RECEIVED_AT_MS, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import {
  startElasticsearch,
  type ClusterOptions,
  type TestCluster,
} from '../../test/support/elasticsearch.ts'
import { config } from './config.ts'
import { elasticsearch } from './factory.ts'

const elasticsearchMaker = await elasticsearch.load()

const NEVER = new AbortController().signal
const undo: (() => Promise<unknown> | void)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

async function cluster(options: ClusterOptions = {}): Promise<TestCluster> {
  const made = await startElasticsearch(options)
  undo.push(() => made.close())
  return made
}

async function exporterTo(more: object): Promise<Exporter> {
  const exporter = elasticsearchMaker.create(
    config.parse({ timeout: '60s', ...more }),
    exporterContext('elasticsearch'),
  )
  await exporter.start?.()
  undo.push(() => exporter.stop?.(NEVER))
  return exporter
}

const text = (key: string, stringValue: string) => ({ key, value: { stringValue } })

test('a span is a document of its day, with its attributes as they are', async () => {
  const { url, documents, requests } = await cluster()
  const exporter = await exporterTo({ endpoint: url, user: 'u', password: 'p', pipeline: 'geo' })
  const span = {
    name: 'chat',
    parentSpanId: '00000000000000ff',
    status: { code: 2, message: 'went wrong' },
    attributes: [
      text('a.b', 'x'),
      text('a', 'y'),
      { key: 'n', value: { intValue: '9007199254740993' } },
      text('__proto__', 'z'),
    ],
    events: [{ name: 'e', timeUnixNano: '1000000001', attributes: [text('k', 'v')] }],
    links: [{ traceId: '0af7651916cd43dd8448eb211c80319c', spanId: 'b7ad6b7169203331' }],
  }
  const batch = testBatch([span], { tenant: 'acme' })
  batch.set(0, keyId('added'), 'by a processor')
  await exporter.deliver?.(testDelivery([batch]), NEVER)
  const [[place = '', document] = []] = documents
  expect(place).toMatch(/^weir-traces-2026\.11\.21\/[0-9a-f]{32}$/)
  expect(document).toMatchObject({
    '@timestamp': '2026-11-21T12:00:00.000000000Z',
    trace: { id: '0af7651916cd43dd8448eb211c80319c' },
    span: { id: '0000000000000001', name: 'chat', kind: 'internal' },
    parent: { id: '00000000000000ff' },
    event: { duration: 1_000_000, outcome: 'failure' },
    status: { message: 'went wrong' },
    service: { name: 'shop' },
    resource: { attributes: { 'service.name': 'shop' } },
    scope: { name: 'test', version: '1' },
    events: [{ '@timestamp': '1970-01-01T00:00:01.000000001Z', name: 'e', attributes: { k: 'v' } }],
    links: [{ trace: { id: '0af7651916cd43dd8448eb211c80319c' }, span: { id: 'b7ad6b7169203331' } }],
    weir: { tenant: 'acme', source: 'test' },
  })
  const attributes = Object.entries(document?.['attributes'] ?? {})
  expect(attributes).toEqual([
    ['a.b', 'x'],
    ['a', 'y'],
    ['n', '9007199254740993'],
    ['__proto__', 'z'],
    ['added', 'by a processor'],
  ])
  const bulk = requests.find(({ path }) => path.startsWith('/_bulk'))
  expect(bulk?.path).toContain('&pipeline=geo')
  expect(bulk?.headers).toMatchObject({
    authorization: `Basic ${Buffer.from('u:p').toString('base64')}`,
    'content-encoding': 'gzip',
  })
})

test.each([
  [undefined, 'flattened'],
  ['opensearch', 'flat_object'],
])('the template comes first, in the words of %s, and once', async (distribution, type) => {
  const { url, templates, requests } = await cluster(distribution === undefined ? {} : { distribution })
  const exporter = await exporterTo({ endpoint: url, traces_index: 'spans' })
  await exporter.consume(testBatch([{}]), NEVER)
  await exporter.consume(testBatch([{}]), NEVER)
  expect(requests.map(({ path }) => path.split('?')[0])).toEqual([
    '/',
    '/_index_template/weir-traces-spans',
    '/_bulk',
    '/_bulk',
  ])
  expect(templates.get('weir-traces-spans')).toMatchObject({
    index_patterns: ['spans*'],
    template: { mappings: { properties: { attributes: { type } } } },
  })
})

test('wild times do not make an index each', async () => {
  const { url, documents } = await cluster()
  const exporter = await exporterTo({ endpoint: url })
  const at = (ms: number) => ({ startTimeUnixNano: String(BigInt(ms) * 1_000_000n) })
  const years = [0, 1990, 2050, 2200].map((year) => at(Math.max(0, Date.UTC(year))))
  await exporter.consume(testBatch([...years, at(RECEIVED_AT_MS - 86_400_000)]), NEVER)
  const indexes = new Set(Array.from(documents.keys(), (place) => place.split('/')[0]))
  expect(Array.from(indexes).toSorted((a = '', b = '') => a.localeCompare(b))).toEqual([
    'weir-traces-2026.11.20',
    'weir-traces-2026.11.21',
  ])
})

test('too large is sent in halves; a document that is too large alone is rejected', async () => {
  const { url, documents } = await cluster({ maxBytes: 4000 })
  const exporter = await exporterTo({ endpoint: url, create_template: false })
  const big = { attributes: [text('k', 'x'.repeat(5000))] }
  const outcome = await exporter.consume(testBatch([{}, {}, {}, big, {}, {}, {}, {}, {}]), NEVER)
  expect(outcome.rejected).toEqual([{ rows: [3], reason: expect.stringContaining('413') as string }])
  expect(documents.size).toBe(8)
})

test.each([
  [{ status: 429, headers: { 'retry-after': '7' } }, 7000],
  [{ status: 503 }, undefined],
  [{ status: 401 }, undefined],
  [{ items: [429, 'es_rejected_execution_exception'] }, undefined],
  [{ items: [403, 'cluster_block_exception'] }, undefined],
  [{ items: [400, 'validation_exception'] }, undefined],
  [{ items: [400, 'illegal_argument_exception', 'pipeline with id [geo] does not exist'] }, undefined],
  [{ body: { errors: true } }, undefined],
  [{ body: { errors: false, items: [] } }, undefined],
] as const)('%j is repeated', async (said, afterMs) => {
  const { url } = await cluster({
    rule: (actions) =>
      'items' in said ? { items: new Map(actions.map(({ id }) => [id, said.items])) } : said,
  })
  const exporter = await exporterTo({ endpoint: url })
  await expect(exporter.consume(testBatch([{}]), NEVER)).rejects.toMatchObject({
    code: 'EXPORT_UNAVAILABLE',
    verdict: afterMs === undefined ? { do: 'retry' } : { do: 'retry', afterMs },
  })
})

test('the next node is asked when one does not answer; what is not Elasticsearch is told', async () => {
  const gone = await startElasticsearch()
  await gone.close()
  const here = await cluster()
  const exporter = await exporterTo({ endpoints: [gone.url, here.url] })
  await exporter.consume(testBatch([{}]), NEVER)
  expect(here.documents.size).toBe(1)
  const lost = await exporterTo({ endpoint: gone.url })
  await expect(lost.probe?.(NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  expect(config.safeParse({}).success).toBe(false)
  expect(config.safeParse({ endpoint: 'http://a:1', user: 'x' }).success).toBe(false)
})

test('a node that refuses is not asked again before the others', async () => {
  const cut = await cluster({ rule: () => ({ status: 503 }) })
  const here = await cluster()
  const exporter = await exporterTo({ endpoints: [cut.url, here.url] })
  await expect(exporter.consume(testBatch([{}]), NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  await exporter.consume(testBatch([{}]), NEVER)
  expect(here.documents.size).toBe(1)
})

test('an answer too large to be read does not stop the exporter', async () => {
  const reason = 'x'.repeat(1_000_000)
  const { url, documents } = await cluster({
    rule: (actions) => ({ items: new Map(actions.slice(1).map(({ id }) => [id, [400, 'bad', reason]])) }),
  })
  const exporter = await exporterTo({ endpoint: url })
  const { rejected } = await exporter.consume(testBatch(Array.from({ length: 8 }, () => ({}))), NEVER)
  expect(documents.size + rejected.length).toBe(8)
})
