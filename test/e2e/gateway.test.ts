import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { Metadata } from '@grpc/grpc-js'
import { OTLPTraceExporter as GrpcExporter } from '@opentelemetry/exporter-trace-otlp-grpc'
import { OTLPTraceExporter as HttpExporter } from '@opentelemetry/exporter-trace-otlp-http'
import { OTLPTraceExporter as ProtoExporter } from '@opentelemetry/exporter-trace-otlp-proto'
import type { ReadableSpan, SpanExporter } from '@opentelemetry/sdk-trace-base'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { startClickHouse, type TestServer } from '../clickhouse-http.ts'
import { ARGUED, answerText, expectedSpans, TRACE_FILES, wantedAnswer } from '../genai/expected-traces.ts'
import { sharedData } from '../genai/spans.ts'
import { storedCount } from '../golden/read-back.ts'
import { NatsServer } from '../nats.ts'
import { dist, startDaemon, type Daemon } from '../support/daemon.ts'
import { IdentityClient } from '../support/identity.ts'
import { prefixed, sdkSpans, textsOf, type TraceDocument } from './gateway-spans.ts'

/** The gateway example: a real nats-server, ClickHouse's HTTP interface, and the official SDK exporters. */
const GATEWAY = fileURLToPath(new URL('../../config/examples/gateway.yaml', import.meta.url))
const ABSENT = 'the shared test data is not beside this checkout'
const TENANT = 'frameworks'
const run = promisify(execFile)

let nats: NatsServer
let clickhouse: TestServer
let daemon: Daemon
/** What the SDKs send to say who they are. */
let apiKey: Record<string, string>

beforeAll(async () => {
  nats = await NatsServer.start()
  clickhouse = await startClickHouse()
  const env = {
    WEIR_NATS: nats.url,
    WEIR_WAL_BYTES: '256MiB',
    WEIR_CLICKHOUSE: clickhouse.url,
    WEIR_CLICKHOUSE_DATABASE: 'gateway',
  }
  daemon = await startDaemon({ config: GATEWAY, env })
  await daemon.ready()
  const identity = new IdentityClient(daemon.endpoints.api)
  await identity.tenant(TENANT)
  apiKey = { 'x-api-key': (await identity.key({ kind: 'api', tenant: TENANT, roles: ['ingest'] })).secret }
})

afterAll(async () => {
  await daemon?.stop()
  await clickhouse?.close()
  await nats?.stop()
})

/** Name, trace id prefix, the exporter. */
const SDKS: readonly [string, string, () => SpanExporter][] = [
  [
    'exporter-trace-otlp-grpc',
    'a1',
    () => new GrpcExporter({ url: `http://${daemon.endpoints.grpc}`, metadata: metadataOf(apiKey) }),
  ],
  [
    'exporter-trace-otlp-http',
    'b1',
    () => new HttpExporter({ url: `${daemon.endpoints.http}/v1/traces`, headers: apiKey }),
  ],
  [
    'exporter-trace-otlp-proto',
    'c1',
    () => new ProtoExporter({ url: `${daemon.endpoints.http}/v1/traces`, headers: apiKey }),
  ],
]

function metadataOf(headers: Record<string, string>): Metadata {
  const metadata = new Metadata()
  for (const [name, value] of Object.entries(headers)) metadata.set(name, value)
  return metadata
}

async function deliver(exporter: SpanExporter, spans: ReadableSpan[]): Promise<void> {
  await new Promise<void>((resolve, reject) => {
    exporter.export(spans, ({ error }) => (error === undefined ? resolve() : reject(error)))
  })
}

/** `weir query … --json` as a user runs it. */
async function weirQuery(sql: string): Promise<Record<string, unknown>[]> {
  const args = [join(dist, 'cmd/main.js'), 'query', sql, '--json', '--endpoint', daemon.endpoints.api]
  const { stdout } = await run(process.execPath, args, { maxBuffer: 1 << 26 })
  return (JSON.parse(stdout) as { rows: Record<string, unknown>[] }).rows
}

const COLUMNS = `SpanId, TraceId, ParentSpanId, SpanName, SpanKind, StatusCode, StatusMessage, ScopeName, ScopeVersion,
  toString(toUnixTimestamp64Nano(Timestamp)) AS StartNs, toString(Duration) AS DurationNs, ResourceAttributes,
  SpanAttributes`
const KINDS = ['Unspecified', 'Internal', 'Server', 'Client', 'Producer', 'Consumer']
const STATUSES = ['Unset', 'Ok', 'Error']

function expectedRows(documents: readonly TraceDocument[], prefix: string): Map<string, object> {
  const rows = documents.flatMap(({ resourceSpans }) =>
    resourceSpans.flatMap(({ resource, scopeSpans }) =>
      scopeSpans.flatMap(({ scope, spans }) =>
        spans.map((span) => ({
          SpanId: span.spanId,
          TraceId: prefixed(span.traceId, prefix),
          ParentSpanId: span.parentSpanId ?? '',
          SpanName: span.name,
          SpanKind: KINDS[span.kind],
          StatusCode: STATUSES[span.status.code ?? 0],
          StatusMessage: span.status.message ?? '',
          ScopeName: scope.name,
          ScopeVersion: scope.version,
          StartNs: span.startTimeUnixNano,
          DurationNs: String(BigInt(span.endTimeUnixNano) - BigInt(span.startTimeUnixNano)),
          ResourceAttributes: textsOf(resource.attributes),
          SpanAttributes: textsOf(span.attributes),
        })),
      ),
    ),
  )
  return new Map(rows.map((row) => [row.SpanId, row]))
}

describe.each(SDKS)('the traces of eight frameworks by @opentelemetry/%s', (_name, prefix, create) => {
  test('every span with equal attributes, tokens and cost', async (ctx) => {
    const expected = expectedSpans() ?? ctx.skip(ABSENT)
    const documents = TRACE_FILES.map(
      (file) => JSON.parse(sharedData(`traces/otlp/${file}.otlp.json.gz`) ?? '{}') as TraceDocument,
    )
    const exporter = create()
    for (const document of documents) await deliver(exporter, sdkSpans(document, prefix))
    await exporter.shutdown()
    const wanted = expectedRows(documents, prefix)
    expect(wanted.size).toBe(58)
    const mine = `startsWith(TraceId, '${prefix}')`
    expect(await storedCount(daemon, wanted.size, mine)).toBe(wanted.size)
    const rows = await weirQuery(`SELECT ${COLUMNS} FROM otel_traces WHERE ${mine}`)
    expect(rows.length).toBe(wanted.size)
    for (const row of rows) expect(row).toEqual(wanted.get(String(row['SpanId'])))
    const facts = await weirQuery(
      `SELECT SpanId, RequestModel, InputTokens, OutputTokens, toString(CostUsd) AS Usd FROM otel_traces WHERE ${mine}`,
    )
    const answers = new Map(facts.map((row) => [row['SpanId'], answerOf(row)]))
    const differ = expected.filter((span) => answers.get(span.spanId) !== wantedAnswer(span))
    expect(differ.map(({ spanId }) => spanId).sort()).toEqual(Object.keys(ARGUED).sort())
  })
})

function answerOf(row: Record<string, unknown>): string {
  const nanoUsd = Math.round(Number(row['Usd']) * 1e9)
  return answerText(
    String(row['RequestModel']),
    Number(row['InputTokens']),
    Number(row['OutputTokens']),
    nanoUsd,
  )
}

test("nobody sends without a key, and what was sent is its owner's", async () => {
  const { status } = await fetch(`${daemon.endpoints.http}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: '{}',
  })
  expect(status).toBe(401)
  expect(await weirQuery('SELECT DISTINCT TenantId FROM otel_traces')).toEqual([{ TenantId: TENANT }])
})

test('nothing is stored twice, and the ledger balances', async () => {
  const [row] = await weirQuery('SELECT count() AS n, uniqExact(EventId) AS ids FROM otel_traces')
  expect(row?.['n']).toBe(row?.['ids'])
  const metrics = await daemon.metrics()
  expect(metrics.sum('weir_accounting_imbalance_spans')).toBe(0)
})
