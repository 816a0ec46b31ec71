import { randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Exporter } from '../../pipeline/component.ts'
import { faultOf } from '../../pipeline/fault.ts'
import {
  exporterContext,
  RECEIVED_AT_MS,
  testBatch,
  testDelivery,
  type TestSpan,
} from '../../test/contract/exporter.ts'
import { batchesIn, idsIn, isData } from '../../test/s3/read-back.ts'
import { Certificates, hasOpenssl } from '../../test/support/certificates.ts'
import { S3Server, type S3Answer } from '../../test/support/s3-server.ts'
import { config } from './config.ts'
import { s3 } from './factory.ts'
import type { Manifest } from './manifest.ts'
import { MAX_PARTITIONS } from './partition.ts'

const s3Maker = await s3.load()

const NEVER = new AbortController().signal
const HOUR_MS = 3_600_000
let server: S3Server
const started: Exporter[] = []

beforeEach(async () => {
  server = await S3Server.start()
})

afterEach(async () => {
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
  await server.close()
})

async function exporter(uploader: object = {}, more: object = {}): Promise<Exporter> {
  const s3uploader = { ...server.place, retry_mode: 'nop', ...uploader }
  const made = s3Maker.create(config.parse({ s3uploader, timeout: '60s', ...more }), exporterContext('s3'))
  await made.start?.()
  started.push(made)
  return made
}

let tokens = 0
const deliver = (to: Exporter, batches: Batch[], token = `t${++tokens}`, from = 17) =>
  to.deliver?.(testDelivery(batches, { token, from }), NEVER) ?? Promise.reject(new Error('no deliver'))

const at = (ms: number): TestSpan => ({ startTimeUnixNano: String(BigInt(ms) * 1_000_000n) })
const manifests = async (): Promise<Manifest[]> =>
  [...(await server.objects())]
    .filter(([key]) => !isData(key))
    .map(([, bytes]) => JSON.parse(bytes.toString()) as Manifest)

describe('names', () => {
  test('an object per tenant and hour of the spans, from the range; a manifest that lists them', async () => {
    const to = await exporter({ s3_base_prefix: '/lake/', s3_prefix: 'weir', file_prefix: 'a-' })
    const batches = [
      testBatch([at(RECEIVED_AT_MS), at(RECEIVED_AT_MS - 2 * HOUR_MS)], { tenant: 'b' }),
      testBatch([at(RECEIVED_AT_MS + 1)], { tenant: 'a' }),
    ]
    await deliver(to, batches, 'token')
    const name = 'a-traces_0000000000000017-0000000000000018_token.json.gz'
    const day = 'year=2026/month=11/day=21'
    expect(await server.keys()).toEqual([
      'lake/weir/_manifests/traces/store/test/0000000000000017-0000000000000018_token.json',
      `lake/weir/tenant=a/${day}/hour=12/${name}`,
      `lake/weir/tenant=b/${day}/hour=10/${name}`,
      `lake/weir/tenant=b/${day}/hour=12/${name}`,
    ])
    const ns = (ms: number): string => `${ms}000000`
    const [manifest] = await manifests()
    expect(manifest).toMatchObject({
      v: 1,
      cursor: 'traces/store/test',
      from: 17,
      to: 18,
      token: 'token',
      rows: 3,
      tenants: ['a', 'b'],
      first_time_unix_nano: ns(RECEIVED_AT_MS - 2 * HOUR_MS),
      last_time_unix_nano: ns(RECEIVED_AT_MS + 1),
    })
    expect(manifest?.objects.map(({ tenant, rows }) => [tenant, rows])).toEqual([
      ['a', 1],
      ['b', 1],
      ['b', 1],
    ])
  })

  test('the format of the collector', async () => {
    const to = await exporter({
      s3_partition_format: 'year=%Y/month=%m/day=%d/hour=%H/minute=%M',
      compression: 'none',
    })
    await deliver(to, [testBatch([at(Date.UTC(2024, 1, 29, 7, 5, 59))])])
    expect((await server.keys()).filter(isData)[0]).toMatch(
      /^tenant=default\/year=2024\/month=02\/day=29\/hour=07\/minute=05\/traces_[^/]+\.json$/,
    )
  })

  test('wild clocks cost no more than so many objects, and no span', async () => {
    const to = await exporter()
    const wild = Array.from({ length: 300 }, (_, i) => ({
      ...at(i * 1000 * HOUR_MS),
      spanId: (i + 1).toString(16).padStart(16, '0'),
    }))
    await deliver(to, [testBatch(wild)])
    expect((await server.keys()).filter(isData).length).toBe(MAX_PARTITIONS)
    expect(new Set(await idsIn(await server.objects())).size).toBe(300)
    const [manifest] = await manifests()
    // Filed by their receipt, listed by their own time; the start that is 0 is none.
    expect(manifest?.objects.find(({ partition }) => partition.includes('year=2026'))?.rows).toBeGreaterThan(
      200,
    )
    expect(manifest?.first_time_unix_nano).toBe('0')
  })
})

describe('a delivery that did not end', () => {
  test('leaves objects without a manifest; its repeat, by another process, overwrites them by the same bytes', async () => {
    const batches = () => [testBatch([at(RECEIVED_AT_MS), at(RECEIVED_AT_MS - HOUR_MS)])]
    server.rule = ({ path }) => (path.includes('_manifests/') ? 'cut' : 'take')
    await expect(deliver(await exporter(), batches(), 'again')).rejects.toMatchObject({
      code: 'EXPORT_UNAVAILABLE',
    })
    const before = await server.objects()
    expect([...before.keys()].filter(isData)).toHaveLength(2)
    expect(await manifests()).toEqual([])
    server.rule = () => 'take'
    await deliver(await exporter(), batches(), 'again')
    const after = await server.objects()
    expect([...after].filter(([key]) => isData(key))).toEqual([...before])
    expect((await manifests())[0]?.rows).toBe(2)
  })

  test('goes on in the same process behind what is stored', async () => {
    const to = await exporter()
    const batches = () => [testBatch([at(RECEIVED_AT_MS), at(RECEIVED_AT_MS - HOUR_MS)])]
    const hour = 'hour=11'
    server.rule = ({ path }) => (path.includes(hour) ? { status: 503, code: 'SlowDown' } : 'take')
    await expect(deliver(to, batches(), 'on')).rejects.toThrow(/SlowDown 503/)
    server.rule = () => 'take'
    server.requests.length = 0
    await deliver(to, batches(), 'on')
    const puts = server.requests.filter(({ method }) => method === 'PUT').map(({ path }) => path)
    expect(puts).toHaveLength(2)
    expect(puts[0]).toContain(hour)
    expect(puts[1]).toContain('_manifests/')
    expect((await manifests())[0]?.objects).toHaveLength(2)
  })
})

test('a repeat of which a reload has changed the processors holds what they leave now', async () => {
  const to = await exporter()
  const without = (row: number) => {
    const batch = testBatch([0, 0, HOUR_MS, HOUR_MS].map((ms) => at(RECEIVED_AT_MS - ms)))
    batch.drop(row, 'sampled')
    return [batch]
  }
  server.rule = ({ path }) => (path.includes('hour=11') ? { status: 503, code: 'SlowDown' } : 'take')
  await expect(deliver(to, without(0), 'same')).rejects.toThrow(/SlowDown/)
  server.rule = () => 'take'
  await deliver(to, without(2), 'same')
  expect((await manifests())[0]?.objects.map(({ rows }) => rows)).toEqual([1, 2])
  expect(await idsIn(await server.objects())).toHaveLength(3)
})

describe('what is asked of S3', () => {
  test('encryption, storage class, ACL and content type; manifests stay STANDARD', async () => {
    const to = await exporter({
      storage_class: 'STANDARD_IA',
      server_side_encryption: 'aws:kms',
      kms_key_id: 'alias/traces',
      acl: 'bucket-owner-full-control',
    })
    await deliver(to, [testBatch([{}])])
    const [data, manifest] = server.requests.map(({ headers }) => headers)
    expect(data).toMatchObject({
      'x-amz-storage-class': 'STANDARD_IA',
      'x-amz-server-side-encryption': 'aws:kms',
      'x-amz-server-side-encryption-aws-kms-key-id': 'alias/traces',
      'x-amz-acl': 'bucket-owner-full-control',
      'content-type': 'application/x-ndjson',
      'x-amz-checksum-sha256': expect.stringMatching(/^[\w+/]{43}=$/) as string,
    })
    expect(manifest).toMatchObject({ 'x-amz-server-side-encryption': 'aws:kms' })
    expect(manifest?.['x-amz-storage-class']).toBeUndefined()
    expect(server.damaged).toEqual([])
  })

  test('a large body goes up in parts and comes back whole', async () => {
    const to = await exporter({ compression: 'none' }, { marshaler: 'otlp_proto', timeout: '20s' })
    const value = randomBytes(15_000_000).toString('base64')
    const batch = testBatch([{ attributes: [{ key: 'big', value: { stringValue: value } }] }])
    await deliver(to, [batch])
    expect(server.requests.filter(({ path }) => path.includes('partNumber=')).length).toBe(3)
    const [[key, bytes] = ['', Buffer.of()]] = [...(await server.objects())].filter(([key]) => isData(key))
    expect(batchesIn(key, bytes)[0]?.toJson()).toBe(batch.toJson())
    const [manifest] = await manifests()
    expect(manifest?.objects[0]?.bytes).toBe(bytes.length)
  })

  test('a part that fails is tried again with the delivery, and its upload is aborted', async () => {
    const to = await exporter({ compression: 'none' }, { timeout: '20s' })
    const value = randomBytes(15_000_000).toString('base64')
    const batches = () => [testBatch([{ attributes: [{ key: 'big', value: { stringValue: value } }] }])]
    // s3rver knows no aborting of uploads.
    server.rule = ({ method, path }) => {
      if (method === 'DELETE') return { status: 204, code: '' }
      return path.includes('partNumber=2') ? { status: 500, code: 'InternalError' } : 'take'
    }
    await expect(deliver(to, batches(), 'parts')).rejects.toThrow(/InternalError/)
    expect(
      server.requests.some(({ method, path }) => method === 'DELETE' && path.includes('uploadId=')),
    ).toBe(true)
    server.rule = () => 'take'
    await deliver(to, batches(), 'parts')
    expect(await idsIn(await server.objects())).toHaveLength(1)
  })
})

describe('refusals', () => {
  const cases: readonly [string, S3Answer, RegExp][] = [
    ['throttled', { status: 503, code: 'SlowDown' }, /SlowDown/],
    ['no bucket', { status: 404, code: 'NoSuchBucket' }, /bucket weir-test does not exist.*s3_bucket/],
    ['no right', { status: 403, code: 'AccessDenied' }, /may not use weir-test: allow s3:PutObject/],
    ['bad key', { status: 403, code: 'InvalidAccessKeyId' }, /credentials are missing, wrong or expired/],
    ['other region', { status: 400, code: 'AuthorizationHeaderMalformed' }, /not in region us-east-1/],
    ['KMS', { status: 400, code: 'KMS.DisabledException' }, /kms_key_id/],
    ['cut', 'cut', /ECONNRESET|socket hang up/],
    ['silent', 'hang', /imeout|timed out/i],
  ]
  test.each(cases)('%s: tried again, and the message says what to do', async (_name, answer, message) => {
    const to = await exporter({}, { timeout: '500ms' })
    server.rule = () => answer
    const error: unknown = await deliver(to, [testBatch([{}])]).catch((caught: unknown) => caught)
    expect(faultOf(error)).toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
    expect(faultOf(error)?.message).toMatch(message)
    await expect(to.probe?.(NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  })

  test('the SDK repeats what is worth it before the WAL does', async () => {
    const to = await exporter({ retry_mode: 'standard' })
    let puts = 0
    server.rule = ({ method }) =>
      method === 'PUT' && ++puts === 1 ? { status: 503, code: 'SlowDown' } : 'take'
    await deliver(to, [testBatch([{}])])
    expect(puts).toBe(3)
  })

  test('wrong secret: refused by the signature, and the secret is not told', async () => {
    const to = await exporter({ secret_access_key: 'hunter2hunter2' })
    const error: unknown = await deliver(to, [testBatch([{}])]).catch((caught: unknown) => caught)
    expect(faultOf(error)?.message).toMatch(/SignatureDoesNotMatch/)
    expect(JSON.stringify(error) + String((error as Error).stack)).not.toContain('hunter2')
  })

  test('credentials that may only write are ready: the probe writes', async () => {
    const to = await exporter()
    server.rule = ({ method }) => (method === 'HEAD' ? { status: 403, code: 'AccessDenied' } : 'take')
    await to.probe?.(NEVER)
    expect(await server.keys()).toEqual(['_manifests/_probe'])
  })

  test('an abort ends a delivery at once', async () => {
    const to = await exporter({}, { timeout: '60s' })
    server.rule = () => 'hang'
    const giveUp = new AbortController()
    const delivery = to.deliver?.(testDelivery([testBatch([{}])]), giveUp.signal)
    const ended = expect(delivery).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
    giveUp.abort()
    await ended
  })
})

test('without a WAL, what a sender repeats overwrites', async () => {
  const to = await exporter()
  await to.consume(testBatch([{}]), NEVER)
  await to.consume(testBatch([{}]), NEVER)
  expect(await idsIn(await server.objects())).toEqual(['0000000000000001'])
})

test.skipIf(!hasOpenssl)('TLS: an authority of its own, and none but that', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-s3-tls-'))
  const certificates = new Certificates(folder)
  certificates.authority('ca')
  certificates.certificate('server', 'ca', 'IP:127.0.0.1')
  const identity = { cert: certificates.read('server.pem'), key: certificates.read('server.key') }
  const secure = await S3Server.start(undefined, identity)
  try {
    const { endpoint } = secure
    const trusting = await exporter({ endpoint }, { tls: { ca_file: certificates.at('ca.pem') } })
    await deliver(trusting, [testBatch([{}])])
    expect(await idsIn(await secure.objects())).toHaveLength(1)
    await expect(deliver(await exporter({ endpoint }), [testBatch([{}])])).rejects.toThrow(/certificate/)
    await expect(
      exporter({ endpoint }, { tls: { ca_file: join(folder, 'none.pem') } }),
    ).rejects.toMatchObject({
      code: 'START_FAILED',
    })
  } finally {
    await secure.close()
    rmSync(folder, { recursive: true })
  }
})

describe('config', () => {
  const wrong: readonly [string, object][] = [
    ['s3_bucket', {}],
    ['s3_bucket', { s3_bucket: 'No_Bucket' }],
    ['s3_prefix', { s3_bucket: 'bbb', s3_prefix: 'a/../b' }],
    ['s3_partition_format', { s3_bucket: 'bbb', s3_partition_format: '%Y/%Q' }],
    ['access_key_id', { s3_bucket: 'bbb', access_key_id: 'x' }],
    ['kms_key_id', { s3_bucket: 'bbb', kms_key_id: 'x' }],
    ['endpoint', { s3_bucket: 'bbb', endpoint: 'minio:9000' }],
  ]
  test.each(wrong)('%s is checked', (key, s3uploader) => {
    const result = config.safeParse({ s3uploader })
    expect(result.error?.issues.map(({ path }) => path[1])).toEqual([key])
  })
})
