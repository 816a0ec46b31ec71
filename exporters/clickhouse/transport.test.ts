import { mkdtempSync, rmSync } from 'node:fs'
import { once } from 'node:events'
import { connect, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createServer, type TLSSocket } from 'node:tls'
import { afterAll, beforeAll, expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { canZstd } from '../../pipeline/net/compress.ts'
import { startClickHouse, type TestServer } from '../../test/clickhouse-http.ts'
import { exporterContext, testBatch, testDelivery } from '../../test/contract/exporter.ts'
import { Certificates, hasOpenssl } from '../../test/support/certificates.ts'
import { config } from './config.ts'
import { clickhouse } from './factory.ts'

const clickhouseMaker = await clickhouse.load()

const NEVER = new AbortController().signal
const folder = mkdtempSync(join(tmpdir(), 'weir-clickhouse-tls-'))
const files = new Certificates(folder)
let server: TestServer
let seq = 0

beforeAll(async () => {
  server = await startClickHouse()
})

afterAll(async () => {
  await server.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function using<T>(
  options: Record<string, unknown>,
  work: (exporter: Exporter) => Promise<T>,
): Promise<T> {
  const parsed = config.parse({ endpoint: server.url, database: 'transport', timeout: '10s', ...options })
  const exporter = clickhouseMaker.create(parsed, exporterContext('clickhouse'))
  await exporter.start?.()
  try {
    return await work(exporter)
  } finally {
    await exporter.stop?.(NEVER)
  }
}

/** Stores one span with a long prompt; the request that brought it. */
async function store(exporter: Exporter) {
  const attributes = [{ key: 'prompt', value: { stringValue: 'again and '.repeat(5000) } }]
  const batch = testBatch([{ attributes }], { wal: { seq: ++seq, row: 0 } })
  await exporter.deliver?.(testDelivery([batch], { from: seq, to: seq, token: `t-${seq}` }), NEVER)
  const { data } = (
    await server.session.queryAsync(
      `SELECT count(), max(length(SpanAttributes['prompt'])) FROM transport.otel_traces WHERE WalSeq = ${seq}`,
      { format: 'JSONCompact' },
    )
  ).json<{ data: unknown[][] }>()
  expect(data).toEqual([[1, 50_000]])
  const sent = server.requests.findLast(
    ({ sql }) => sql.startsWith('INSERT') && sql.endsWith('FORMAT Native'),
  )
  return sent as NonNullable<typeof sent>
}

test.each([
  ['none', 50_000, 60_000],
  ['gzip', 500, 5000],
  ['zstd', 500, 5000],
] as const)('compress: %s', async (compress, least, most) => {
  if (compress === 'zstd' && !canZstd) {
    expect(config.safeParse({ endpoint: server.url, compress }).error?.message).toContain('Node.js 22.15')
    return
  }
  const { wireBytes } = await using({ compress }, store)
  expect(wireBytes).toBeGreaterThan(least)
  expect(wireBytes).toBeLessThan(most)
})

test('settings stand quoted in the statement of each insert', async () => {
  const settings = { log_comment: "it's\\ weir", input_format_parallel_parsing: false, insert_quorum: 0 }
  const { sql } = await using({ settings }, store)
  expect(sql).toContain(
    "log_comment = 'it\\'s\\\\ weir', input_format_parallel_parsing = 0, insert_quorum = 0",
  )
})

test('a setting that this ClickHouse does not know is refused at start, by name', async () => {
  await expect(using({ settings: { no_such_thing: 1 } }, store)).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining('does not know no_such_thing') as string,
  })
})

test.each([
  { async_insert: 1 },
  { insert_deduplication_token: 'x' },
  { 'a = 1, b': 1 },
  { log_comment: { nested: 1 } },
])('settings %o are refused', (settings) => {
  expect(config.safeParse({ settings }).success).toBe(false)
})

test.skipIf(!hasOpenssl)('https: our authority, a certificate of ours, a name of its own', async () => {
  files.authority('ca')
  files.authority('other')
  files.certificate('server', 'ca', 'DNS:clickhouse.internal')
  files.certificate('client', 'ca', 'DNS:weir')
  const names: string[] = []
  const proxy = createServer(
    {
      key: files.read('server.key'),
      cert: files.read('server.pem'),
      ca: files.read('ca.pem'),
      requestCert: true,
      rejectUnauthorized: true,
    },
    (socket: TLSSocket) => {
      names.push(String(socket.getPeerCertificate().subject.CN))
      const plain = connect(Number(new URL(server.url).port), '127.0.0.1')
      socket.pipe(plain).pipe(socket)
      socket.on('error', () => plain.destroy())
      plain.on('error', () => socket.destroy())
    },
  )
  proxy.on('tlsClientError', () => undefined)
  proxy.listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  const endpoint = `https://127.0.0.1:${(proxy.address() as AddressInfo).port}`
  const tls = {
    ca_file: files.at('ca.pem'),
    cert_file: files.at('client.pem'),
    key_file: files.at('client.key'),
    server_name_override: 'clickhouse.internal',
  }
  try {
    await using({ endpoint, tls }, store)
    expect(new Set(names)).toEqual(new Set(['client']))
    for (const wrong of [
      { ...tls, server_name_override: 'elsewhere.internal' },
      { ...tls, ca_file: files.at('other.pem') },
      { ca_file: tls.ca_file, server_name_override: tls.server_name_override },
    ]) {
      await expect(using({ endpoint, tls: wrong }, store)).rejects.toMatchObject({ code: 'START_FAILED' })
    }
    await using(
      {
        endpoint: undefined,
        endpoints: [endpoint],
        tls: { ...tls, ca_file: undefined, insecure_skip_verify: true },
      },
      store,
    )
    await expect(using({ endpoint, tls: { ca_file: files.at('none.pem') } }, store)).rejects.toMatchObject({
      code: 'START_FAILED',
      message: expect.stringContaining('none.pem') as string,
    })
  } finally {
    proxy.close()
  }
})
