import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { Certificates, hasOpenssl } from '../../test/support/certificates.ts'
import {
  startGrpc,
  startHttp,
  type Handler,
  type OtlpServer,
  type ServerTlsFiles,
} from '../../test/support/otlp-server.ts'
import { config } from './config.ts'
import { otlp } from './factory.ts'

const otlpMaker = await otlp.load()

const NEVER = new AbortController().signal
const OK = { ok: true } as const
const started: Exporter[] = []
const servers: OtlpServer[] = []

afterEach(async () => {
  for (const exporter of started.splice(0)) await exporter.stop?.(NEVER)
  for (const server of servers.splice(0)) await server.close()
})

async function server(kind: 'grpc' | 'http', handler: Handler, tls?: ServerTlsFiles): Promise<OtlpServer> {
  const one = await (kind === 'grpc' ? startGrpc : startHttp)(handler, tls)
  servers.push(one)
  return one
}

async function exporterTo(endpoint: string | string[], more: object = {}, id = 'otlp'): Promise<Exporter> {
  const options = { endpoint, tls: { insecure: true }, timeout: '60s', ...more }
  const exporter = otlpMaker.create(config.parse(options), exporterContext(id))
  await exporter.start?.()
  started.push(exporter)
  return exporter
}

const spans = (count: number) => testBatch(Array.from({ length: count }, () => ({})))

describe('what a server says', () => {
  test.each([
    ['grpc', { code: 14 }, 0],
    ['grpc', { code: 14, retryMs: 7000 }, 7000],
    ['grpc', { code: 8, retryMs: 1500 }, 1500],
    ['grpc', { code: 1 }, 0],
    ['grpc', { code: 16, message: 'no token' }, 0],
    ['grpc', { code: 12 }, 0],
    ['http', { code: 503 }, 0],
    ['http', { code: 429, retryAfter: '7' }, 7000],
    ['http', { code: 502 }, 0],
    ['http', { code: 401, message: 'no token' }, 0],
    ['http', { code: 404 }, 0],
    ['http', 'drop', 0],
  ] as const)('%s %j is repeated, not before %i ms', async (kind, said, afterMs) => {
    const { address } = await server(kind, () => said)
    const exporter = await exporterTo(address, { protocol: kind })
    const error = await exporter.deliver?.(testDelivery([spans(3)]), NEVER).catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'EXPORT_UNAVAILABLE', verdict: { do: 'retry' } })
    const verdict = (error as { verdict: { afterMs?: number } }).verdict
    expect(verdict.afterMs ?? 0).toBeLessThanOrEqual(afterMs)
    expect(verdict.afterMs ?? 0).toBeGreaterThanOrEqual(afterMs * 0.9)
    if (typeof said === 'object' && 'message' in said) expect(String(error)).toContain(said.message)
  })

  test('Retry-After may be a date', async () => {
    const inMs = (ms: number) => new Date(Date.now() + ms).toUTCString()
    const { address } = await server('http', () => ({ code: 503, retryAfter: inMs(20_000) }))
    const exporter = await exporterTo(address, {}, 'otlp_http')
    const error = await exporter.consume(spans(1), NEVER).catch((thrown: unknown) => thrown)
    const { afterMs = 0 } = (error as { verdict: { afterMs?: number } }).verdict
    expect(afterMs).toBeGreaterThan(15_000)
    expect(afterMs).toBeLessThanOrEqual(20_000)
  })

  test.each([
    ['grpc', { code: 8, message: 'larger than max' }],
    ['http', { code: 413, message: 'too large' }],
  ] as const)(
    '%s: too large is sent in halves, and what is too large alone is rejected',
    async (kind, refusal) => {
      const limit = testBatch([{}, {}, {}]).encode().length
      const { address, seen } = await server(kind, ({ body }) => (body.length > limit ? refusal : OK))
      const exporter = await exporterTo(address, { protocol: kind })
      const big = { attributes: [{ key: 'k', value: { stringValue: 'x'.repeat(limit) } }] }
      const batch = testBatch([{}, {}, {}, {}, big, {}, {}, {}])
      expect(await exporter.deliver?.(testDelivery([batch]), NEVER)).toEqual({
        rejected: [{ batch: 0, rejection: { rows: [4], reason: expect.stringContaining(refusal.message) } }],
      })
      const sizes = seen.map(({ body }) => body.length).filter((size) => size <= limit)
      expect(sizes.length).toBeGreaterThanOrEqual(3)
    },
  )

  test('secrets that a server repeats do not reach the message', async () => {
    const { address } = await server('http', () => ({
      code: 401,
      message: 'bad Bearer abcdef123456\n\u001b[2J',
    }))
    const exporter = await exporterTo(address, { protocol: 'http' })
    const error = await exporter.consume(spans(1), NEVER).catch((thrown: unknown) => thrown)
    expect(String(error)).toContain('bad Bearer [REDACTED]')
    expect(String(error)).not.toContain('\u001b')
  })

  test('some rejected of several batches: every span that may be meant is told, the sum is the server’s', async () => {
    const { address } = await server('grpc', () => ({
      ok: true,
      partial: { rejected: 2, message: 'no model' },
    }))
    const exporter = await exporterTo(address)
    const outcome = await exporter.deliver?.(testDelivery([spans(1), spans(3), spans(1)]), NEVER)
    const reason = '2 of the 5 spans of one request: no model'
    expect(outcome?.rejected).toEqual([
      { batch: 0, rejection: { rows: [0], reason, count: 1 } },
      { batch: 1, rejection: { rows: [0, 1, 2], reason, count: 1 } },
      { batch: 2, rejection: { rows: [0], reason, count: 0 } },
    ])
  })
})

test('a repeated range sends only what the server has not taken', async () => {
  let calls = 0
  const { address, seen } = await server('grpc', () => (++calls === 3 ? { code: 14 } : OK))
  const exporter = await exporterTo(address, { batch: { max_spans: 10 } })
  const delivery = testDelivery(Array.from({ length: 8 }, () => spans(10)))
  await expect(exporter.deliver?.(delivery, NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  const before = seen.length
  await exporter.deliver?.(delivery, NEVER)
  expect(before).toBeLessThan(8)
  expect(seen).toHaveLength(9)
})

test('a half that a server took is not sent again when the other half is', async () => {
  const sent: string[] = []
  let down = true
  const { address } = await server('http', ({ body }) => {
    const { meta } = testBatch([])
    const batch = decodeBatch(body, meta)
    if (batch.rows > 2) return { code: 413 }
    const names = Array.from({ length: batch.rows }, (_, row) => batch.name(row))
    if (down && names.includes('s5')) return { code: 503 }
    sent.push(...names)
    return OK
  })
  const exporter = await exporterTo(address, { protocol: 'http' })
  const names = Array.from({ length: 8 }, (_, at) => `s${at}`)
  const delivery = testDelivery([testBatch(names.map((name) => ({ name })))])
  await expect(exporter.deliver?.(delivery, NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  expect(sent).toHaveLength(4)
  down = false
  await exporter.deliver?.(delivery, NEVER)
  expect(sent.toSorted()).toEqual(names)
})

test('a repeat of which a reload has changed the processors leaves nothing out', async () => {
  const seen = new Set<string>()
  let calls = 0
  let down = true
  const { address } = await server('http', ({ body }) => {
    if (++calls > 1 && down) return { code: 503 }
    const batch = decodeBatch(body, testBatch([]).meta)
    for (let row = 0; row < batch.rows; row++) seen.add(batch.name(row))
    return OK
  })
  const exporter = await exporterTo(address, { protocol: 'http', batch: { max_spans: 2 } })
  const names = Array.from({ length: 8 }, (_, at) => `s${at}`)
  const without = (...dropped: number[]) => {
    const batch = testBatch(names.map((name) => ({ name })))
    for (const row of dropped) batch.drop(row, 'sampled')
    return testDelivery([batch], { token: 'same' })
  }
  await expect(exporter.deliver?.(without(0, 1), NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
  down = false
  await exporter.deliver?.(without(6, 7), NEVER)
  for (const name of names.slice(0, 6)) expect(seen).toContain(name)
})

test('a server that asks to be left alone for years is asked again within the hour', async () => {
  let now = 1_000_000
  const { address, seen } = await server('http', () => ({ code: 503, retryAfter: '999999999' }))
  const options = { endpoint: address, protocol: 'http', timeout: '60s' }
  const exporter = otlpMaker.create(config.parse(options), { ...exporterContext('otlp'), clock: () => now })
  await exporter.start?.()
  started.push(exporter)
  const error = await exporter.consume(spans(1), NEVER).catch((thrown: unknown) => thrown)
  expect((error as { verdict: { afterMs: number } }).verdict.afterMs).toBeLessThanOrEqual(3_600_000)
  now += 3_600_001
  await expect(exporter.consume(spans(1), NEVER)).rejects.toThrow()
  expect(seen).toHaveLength(2)
})

test('a delivery that is given up ends at once', async () => {
  const { address } = await server('grpc', () => 'hang')
  const exporter = await exporterTo(address, { timeout: '60s' })
  const giveUp = new AbortController()
  const delivering = exporter.deliver?.(testDelivery([spans(1)]), giveUp.signal)
  giveUp.abort()
  await expect(delivering).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
})

describe('several endpoints', () => {
  test('round_robin asks all in turn, and passes over one that is down', async () => {
    let down = false
    const first = await server('grpc', () => (down ? { code: 14 } : OK))
    const second = await server('grpc', () => OK)
    const exporter = await exporterTo([first.address, second.address])
    for (let i = 0; i < 6; i++) await exporter.consume(spans(1), NEVER)
    expect([first.seen.length, second.seen.length]).toEqual([3, 3])
    down = true
    for (let i = 0; i < 6; i++) await exporter.consume(spans(1), NEVER)
    expect(second.seen).toHaveLength(9)
  })

  test('pick_first stays with the first that answers', async () => {
    const gone = await server('http', () => OK)
    await gone.close()
    const second = await server('http', () => OK)
    const third = await server('http', () => OK)
    const endpoints = [gone.address, second.address, third.address]
    const exporter = await exporterTo(endpoints, { protocol: 'http', balancer_name: 'pick_first' })
    for (let i = 0; i < 4; i++) await exporter.consume(spans(1), NEVER)
    expect([second.seen.length, third.seen.length]).toEqual([4, 0])
  })

  test('a server that asked to be left alone is left alone', async () => {
    const { address, seen } = await server('grpc', () => ({ code: 14, retryMs: 60_000 }))
    const exporter = await exporterTo([address])
    for (let i = 0; i < 3; i++) await expect(exporter.consume(spans(1), NEVER)).rejects.toThrow()
    expect(seen).toHaveLength(1)
  })
})

test.each(['grpc', 'http'] as const)('%s: headers and gzip go with every request', async (protocol) => {
  const { address, seen } = await server(protocol, () => OK)
  const exporter = await exporterTo(address, {
    protocol,
    headers: { 'x-api-key': 'abc', Authorization: 'Basic eHl6' },
  })
  await exporter.consume(spans(200), NEVER)
  await exporter.probe?.(NEVER)
  expect(seen).toHaveLength(2)
  for (const { headers } of seen)
    expect(headers).toMatchObject({ 'x-api-key': 'abc', authorization: 'Basic eHl6' })
  if (protocol === 'http') expect(seen[0]?.headers).toMatchObject({ 'content-encoding': 'gzip' })
})

test('http: traces_endpoint is taken as it is', async () => {
  const { address, seen } = await server('http', () => OK)
  const exporter = await exporterTo('http://127.0.0.1:1', {
    protocol: 'http',
    traces_endpoint: `${address}/api/x?y=1`,
  })
  await exporter.consume(spans(1), NEVER)
  expect(seen).toHaveLength(1)
})

test('the config tells what does not work', () => {
  const problems = (more: object) =>
    config.safeParse({ endpoint: 'a:1', ...more }).error?.issues.map(({ message }) => message)
  expect(problems({ endpoint: 'nowhere' })).toBeDefined()
  expect(problems({ tls: { cert_file: 'x' } })).toEqual([expect.stringContaining('set together')])
  expect(problems({ headers: { 'a b': 'x' } })).toBeDefined()
  expect(problems({ compression: 'zstd' }) === undefined).toBe(canZstd)
})

describe.skipIf(!hasOpenssl)('TLS', () => {
  test.each(['grpc', 'http'] as const)(
    '%s: both prove who they are, and a new certificate is used',
    async (kind) => {
      const folder = mkdtempSync(join(tmpdir(), 'weir-otlp-'))
      try {
        const certificates = new Certificates(folder)
        certificates.authority('ca')
        certificates.certificate('server', 'ca', 'IP:127.0.0.1')
        certificates.certificate('client', 'ca', 'DNS:client')
        certificates.certificate('renewed', 'ca', 'DNS:client')
        const read = (name: string) => readFileSync(certificates.at(name))
        const tls = { cert: read('server.pem'), key: read('server.key'), ca: read('ca.pem') }
        const { address, seen } = await server(kind, () => OK, tls)
        const client = {
          ca_file: certificates.at('ca.pem'),
          cert_file: certificates.at('client.pem'),
          key_file: certificates.at('client.key'),
          reload_interval: '20ms',
        }
        const exporter = await exporterTo(address, { protocol: kind, tls: client })
        await exporter.consume(spans(1), NEVER)
        expect(seen.at(-1)?.client).toBe('client')
        writeFileSync(certificates.at('client.key'), read('renewed.key'))
        writeFileSync(certificates.at('client.pem'), read('renewed.pem'))
        await expect
          .poll(async () => {
            await exporter.consume(spans(1), NEVER)
            return seen.at(-1)?.client
          })
          .toBe('renewed')
        const stranger = await exporterTo(address, {
          protocol: kind,
          tls: { ca_file: certificates.at('ca.pem') },
        })
        await expect(stranger.consume(spans(1), NEVER)).rejects.toMatchObject({ code: 'EXPORT_UNAVAILABLE' })
        const trusting = await exporterTo(address, { protocol: kind, tls: {} })
        await expect(trusting.consume(spans(1), NEVER)).rejects.toThrow(/certificate/)
      } finally {
        rmSync(folder, { recursive: true })
      }
    },
  )
})
