import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { writeRequest } from '../../proto/otlp/write.ts'
import { traceIdOf } from '../support/sampling-rig.ts'
import { NatsServer } from '../nats.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'

function configOf(natsUrl: string | undefined, policies: string): string {
  const place = natsUrl === undefined ? 'driver: embedded' : `driver: jetstream, servers: ['${natsUrl}']`
  return `receivers:
  otlp: { protocols: { http: { endpoint: '127.0.0.1:0' } } }
processors:
  cost: {}
  sampling: { decision_wait: 1s, policies: [${policies}] }
connectors: { wal: { ${place} } }
exporters: { clickhouse: { endpoint: embedded } }
extensions: { state: { ${place} }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost, sampling], exporters: [clickhouse] }
  telemetry: { logs: { level: warn } }
`
}

async function send(daemon: Daemon, trace: string, failed = false): Promise<void> {
  const span = (name: string, statusCode: number) => ({
    traceId: traceIdOf(trace),
    spanId: traceIdOf(`${trace} ${name}`).subarray(0, 8),
    name,
    kind: 1,
    startNs: BigInt(Date.now()) * 1_000_000n,
    endNs: BigInt(Date.now()) * 1_000_000n,
    attributes: [],
    statusCode,
  })
  const body = writeRequest([
    { resource: [], scope: { name: 's', version: '' }, spans: [span('one', 0), span('two', failed ? 2 : 0)] },
  ])
  const answer = await fetch(`${daemon.endpoints.http}/v1/traces`, {
    method: 'POST',
    headers: { 'content-type': 'application/x-protobuf' },
    body,
  })
  expect(answer.status).toBe(200)
}

const stored = async (daemon: Daemon) =>
  new Map(
    (await daemon.query('SELECT TraceId, count() FROM otel_traces GROUP BY TraceId')).map(([id, n]) => [
      String(id),
      Number(n),
    ]),
  )

const FAILED = '{ name: failed, type: status_code, status_code: { status_codes: [ERROR] } }'

test.for(['embedded', 'jetstream'])(
  'traces are kept by policies, %s; a reload changes them; late spans follow what was decided',
  { timeout: 120_000 },
  async (driver, { onTestFinished }) => {
    const nats = driver === 'jetstream' ? await NatsServer.start() : undefined
    onTestFinished(() => nats?.stop())
    const daemon = await startDaemon({ config: configOf(nats?.url, FAILED) })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    await send(daemon, 'good')
    await send(daemon, 'bad', true)
    const hex = (trace: string) => traceIdOf(trace).toString('hex')
    await expect.poll(() => stored(daemon)).toEqual(new Map([[hex('bad'), 2]]))
    const all = configOf(nats?.url, '{ name: all, type: always_sample }')
    await writeFile(join(daemon.directory, 'weir.yaml'), all)
    expect((await fetch(`${daemon.endpoints.api}/-/reload`, { method: 'POST' })).status).toBe(200)
    await send(daemon, 'good', true)
    await send(daemon, 'other')
    await expect
      .poll(() => stored(daemon))
      .toEqual(
        new Map([
          [hex('bad'), 2],
          [hex('other'), 2],
        ]),
      )
    const figures = async () => {
      const page = await daemon.metrics()
      return [
        page.sum('weir_ledger_spans', 'outcome="sampled"'),
        page.sum('weir_accounting_imbalance_spans'),
        page.sum('otelcol_processor_tail_sampling_count_traces_sampled', 'policy="all"'),
      ]
    }
    await expect.poll(figures).toEqual([4, 0, 1])
  },
)
