import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, it } from 'vitest'
import { startDaemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'

const CONFIG = `receivers:
  jsonl:
    include: ['\${env:LOGS}/*.jsonl', '\${env:LOGS}/*.jsonl.gz']
    start_at: beginning
    poll_interval: 20ms
    tenant: acme
    project: support
    resource: { service.name: agent }
processors: { cost: {} }
connectors: { wal: { driver: embedded } }
exporters: { clickhouse: { endpoint: embedded } }
extensions: { state: { driver: embedded }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [jsonl], exporters: [wal] }
    traces/store: { receivers: [wal], processors: [cost], exporters: [clickhouse] }
  telemetry: { logs: { level: warn } }
`

const TRACE = '0af7651916cd43dd8448eb211c80319c'
const T = '2026-09-01T10:00:00.000Z'

const line = (value: object): string => `${JSON.stringify(value)}\n`

const OTLP = line({
  resourceSpans: [
    {
      resource: { attributes: [{ key: 'service.name', value: { stringValue: 'collector' } }] },
      scopeSpans: [
        {
          spans: [
            {
              traceId: TRACE,
              spanId: '00f067aa0ba902b7',
              name: 'from otlp',
              startTimeUnixNano: '1788256800000000000',
              endTimeUnixNano: '1788256801000000000',
            },
          ],
        },
      ],
    },
  ],
})
const AUDIT = line({
  event_version: '3.0',
  trace_id: 'a1b2c3d4e5f6',
  span_id: 'deadbeef',
  timestamp: T,
  event_type: 'llm.invoke',
  agent: 'benefits',
  action: 'answer',
  status: 'ok',
  latency_ms: 250,
  tokens_input: 1000,
  tokens_output: 100,
  cost_usd: 0.25,
  data: { model: 'gpt-4o', provider: 'openai' },
})
const TOON = line({
  t: T,
  actor: 'agent',
  type: 'action_request',
  payload: { action: 'search', params: {} },
  meta: { run_id: 'run-1', agent_id: 'a1' },
})
const ANSWER = line({
  t: T,
  actor: 'tool',
  type: 'action_response',
  payload: { status: 'success', latency_ms: 7 },
  meta: { run_id: 'run-1' },
})

it(
  'files of every format end as rows of their tenant, once, also over a restart',
  { timeout: 120_000 },
  async ({ onTestFinished }) => {
    const logs = await mkdtemp(join(tmpdir(), 'weir-logs-'))
    onTestFinished(() => rm(logs, { recursive: true, force: true }))
    await writeFile(join(logs, 'a.jsonl'), `${OTLP}${AUDIT}not json\n${TOON}${ANSWER}`)
    await writeFile(
      join(logs, 'b.jsonl.gz'),
      gzipSync(OTLP.replace('from otlp', 'from gzip').replace('02b7', '02b8')),
    )
    const daemon = await startDaemon({ config: CONFIG, env: { LOGS: logs } })
    onTestFinished(() => daemon.stop())
    await daemon.ready()
    const count = async () => Number((await daemon.query('SELECT count() FROM otel_traces'))[0]?.[0])
    await until(async () => (await count()) === 5)
    await daemon.restart('SIGKILL')
    await daemon.ready()
    await writeFile(join(logs, 'c.jsonl'), OTLP.replace('from otlp', 'later').replace('02b7', '02b9'))
    await until(async () => (await count()) === 6)
    const rows = await daemon.query(
      `SELECT SpanName, ServiceName, TenantId, ProjectId, RunId, Seq, Operation, RequestModel, InputTokens, OutputTokens,
       toString(CostProvidedUsd), Duration FROM otel_traces ORDER BY SpanName, Seq`,
    )
    const own = (row: readonly unknown[]) => row.map(String)
    expect(rows.map(own)).toEqual([
      [
        'chat gpt-4o',
        'agent',
        'acme',
        'support',
        'a1b2c3d4e5f6',
        '0',
        'chat',
        'gpt-4o',
        '1000',
        '100',
        '0.25',
        '250000000',
      ],
      ['execute_tool search', 'a1', 'acme', 'support', 'run-1', '1', '', '', '0', '0', 'null', '0'],
      [
        'execute_tool search',
        'a1',
        'acme',
        'support',
        'run-1',
        '2',
        'execute_tool',
        '',
        '0',
        '0',
        'null',
        '7000000',
      ],
      ['from gzip', 'collector', 'acme', 'support', '', '0', '', '', '0', '0', 'null', '1000000000'],
      ['from otlp', 'collector', 'acme', 'support', '', '0', '', '', '0', '0', 'null', '1000000000'],
      ['later', 'collector', 'acme', 'support', '', '0', '', '', '0', '0', 'null', '1000000000'],
    ])
    expect((await daemon.metrics()).sum('weir_jsonl_open_files')).toBeGreaterThan(0)
  },
)
