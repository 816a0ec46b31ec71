import { afterEach, expect, it } from 'vitest'
import { ask } from '../contract/otlp-clients.ts'
import { startDaemon, type Daemon } from '../support/daemon.ts'
import { until } from '../support/until.ts'

/** A config with rules in, verdicts out: over OTLP and toon, at ingestion and after the end of runs. */
const CONFIG = `receivers:
  otlp: { protocols: { http: { endpoint: 127.0.0.1:0 } } }
  toon: { endpoint: 127.0.0.1:0 }
processors:
  sanitizer: {}
  validators:
    threshold: ERROR
    runs: { end_wait: 100ms, root_wait: 100ms, idle_timeout: 1s }
    pii: { types: { card: ERROR }, severity: WARNING }
    policy:
      rules:
        - { name: no_mini, when: 'span.model.endsWith("mini")', severity: WARNING, message: small models are not for this }
        - { name: errors, scope: run, when: 'run.errors > 0', severity: ERROR }
    missing_step: { workflows: [{ steps: ['tool:verify*'] }] }
    sequence: { order: [{ step: 'tool:refund', after: 'tool:verify*', severity: CRITICAL }] }
connectors: { wal: { driver: embedded } }
exporters: { clickhouse: { endpoint: embedded, batch: { max_wait: 20ms } } }
extensions: { state: { driver: embedded }, health: {}, api: {} }
service:
  extensions: [state, health, api]
  pipelines:
    traces/ingest: { receivers: [otlp, toon], processors: [sanitizer, validators], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [clickhouse] }
  telemetry: { logs: { level: warn } }
`

const undo: (() => Promise<unknown>)[] = []

afterEach(async () => {
  for (const each of undo.splice(0).reverse()) await each()
})

async function started(config = CONFIG): Promise<Daemon> {
  const daemon = await startDaemon({ config })
  undo.push(() => daemon.stop())
  await daemon.ready()
  return daemon
}

interface Span {
  readonly trace: string
  readonly id: string
  readonly parent?: string
  readonly failed?: boolean
  readonly attributes?: Readonly<Record<string, string>>
}

async function sendSpans(daemon: Daemon, ...spans: Span[]): Promise<unknown> {
  const document = {
    resourceSpans: [
      {
        resource: { attributes: [{ key: 'service.name', value: { stringValue: 'shop' } }] },
        scopeSpans: [
          {
            spans: spans.map(({ trace, id, parent, failed, attributes = {} }) => ({
              traceId: trace.padEnd(32, 'a'),
              spanId: id.repeat(16),
              ...(parent !== undefined && { parentSpanId: parent.repeat(16) }),
              name: 'step',
              startTimeUnixNano: '1788256800000000000',
              endTimeUnixNano: '1788256801000000000',
              status: { code: failed === true ? 2 : 0 },
              attributes: Object.entries(attributes).map(([key, stringValue]) => ({
                key,
                value: { stringValue },
              })),
            })),
          },
        ],
      },
    ],
  }
  const port = Number(new URL(daemon.endpoints.http).port)
  const answer = await ask(port, {
    headers: { 'content-type': 'application/json' },
    body: Buffer.from(JSON.stringify(document)),
  })
  expect(answer.status).toBe(200)
  return JSON.parse(String(answer.body))
}

const CHAT = { 'gen_ai.operation.name': 'chat', 'gen_ai.request.model': 'gpt-4o-mini' }

function event(type: string, payload: object): object {
  return { t: '2026-09-01T10:00:00Z', actor: type === 'action_response' ? 'tool' : 'agent', type, payload }
}

async function post(daemon: Daemon, path: string, body: unknown): Promise<[number, Record<string, unknown>]> {
  const answer = await fetch(`${daemon.endpoints.toon}${path}`, {
    method: 'POST',
    headers: {
      'content-type': 'application/json',
      'idempotency-key': `${path} ${JSON.stringify(body).length}`,
    },
    body: JSON.stringify(body),
  })
  return [answer.status, (await answer.json()) as Record<string, unknown>]
}

const VIOLATIONS = `SELECT RunId, Phase, Validator, Rule, Severity, Message FROM violations ORDER BY RunId, Phase, Validator, Rule`

it('rejects, annotates and judges, and the views show it', async () => {
  const daemon = await started()
  const partial = await sendSpans(
    daemon,
    { trace: 'a', id: '1', attributes: { ...CHAT, note: 'card 4111 1111 1111 1111' } },
    { trace: 'a', id: '2', attributes: { ...CHAT, note: 'to ada@example.org' } },
    { trace: 'a', id: '3', failed: true },
  )
  expect(partial).toEqual({
    partialSuccess: {
      rejectedSpans: '1',
      errorMessage: expect.stringContaining('validators: pii.card (ERROR): 1 of kind card found'),
    },
  })
  await post(daemon, '/v1/runs', { run_id: 'r1', agent_id: 'refunds' })
  const [status, problem] = await post(daemon, '/v1/runs/r1/events', [
    event('reasoning', { thought: 'hm' }),
    event('final_output', { output: 'charged 4111 1111 1111 1111' }),
  ])
  expect([status, JSON.stringify(problem)]).toEqual([422, expect.stringMatching(/"index":1.*pii\.card/)])
  const events = [
    event('action_request', { action: 'refund', params: { amount: 3 } }),
    event('action_response', { status: 'error', error: 'no' }),
    event('final_output', { output: 'done' }),
  ]
  expect((await post(daemon, '/v1/runs/r1/events', events))[0]).toBe(202)
  expect((await post(daemon, '/v1/runs/r1/finish', { status: 'completed' }))[0]).toBe(200)
  await until(async () => (await daemon.query(VIOLATIONS)).length >= 7)
  expect(await daemon.query(VIOLATIONS)).toEqual([
    ['', 'ingestion', 'pii', 'email', 'WARNING', '1 of kind email found'],
    ['', 'ingestion', 'policy', 'no_mini', 'WARNING', 'small models are not for this'],
    ['', 'run', 'missing_step', 'tool_verify', 'WARNING', 'the run has no step tool:verify*'],
    ['', 'run', 'policy', 'errors', 'ERROR', 'the rule errors is broken'],
    ['r1', 'run', 'missing_step', 'tool_verify', 'WARNING', 'the run has no step tool:verify*'],
    ['r1', 'run', 'policy', 'errors', 'ERROR', 'the rule errors is broken'],
    ['r1', 'run', 'sequence', 'order_1', 'CRITICAL', 'tool:refund came before any tool:verify*'],
  ])
  const runs = `SELECT AgentName, Status, Spans, ViolationCount, HighestSeverity FROM agent_runs WHERE RunId = 'r1'`
  expect(await daemon.query(runs)).toEqual([['refunds', 'completed', '4', '3', 'CRITICAL']])
})

it('writes verdicts once, however often it is killed between a verdict and its position', async () => {
  const daemon = await started()
  const judged = `SELECT count(), uniqExact(SpanId), uniqExact(TraceId) FROM otel_traces WHERE startsWith(SpanName, 'validate ')`
  const traces = async () => Number((await daemon.query(judged))[0]?.[2])
  for (let round = 0; round < 3; round++) {
    for (let at = 0; at < 10; at++) {
      await sendSpans(daemon, { trace: `${round}${at}`, id: '1', failed: true, attributes: CHAT })
    }
    await until(async () => (await traces()) > round * 10)
    // Judged runs hold the cursor back: all of them are judged again by the next process.
    expect(daemon.killStore()).toBeTypeOf('number')
  }
  await sendSpans(daemon, { trace: 'f', id: '1', failed: true, attributes: CHAT })
  await until(async () => (await traces()) === 31)
  await expect.poll(() => daemon.query(judged)).toEqual([['62', '62', '31']])
})

it('keeps a run with a violation whole, where others are left out', async () => {
  const sampled = CONFIG.replace(
    'processors:\n',
    `processors:
  sampling: { decision_wait: 1s, verdict_wait: 3s, policies: [{ name: failed, type: status_code, status_code: { status_codes: [ERROR] } }] }
`,
  ).replace('{ receivers: [wal], exp', '{ receivers: [wal], processors: [sampling], exp')
  const daemon = await started(sampled)
  const call = (action: string) => [
    event('action_request', { action, params: {} }),
    event('action_response', { status: 'success', result: 'ok' }),
  ]
  const runs = { good: [...call('verify'), ...call('refund')], bad: call('refund') }
  for (const [id, events] of Object.entries(runs)) {
    await post(daemon, '/v1/runs', { run_id: id, agent_id: 'refunds' })
    const all = [...events, event('final_output', { output: id })]
    expect((await post(daemon, `/v1/runs/${id}/events`, all))[0]).toBe(202)
    expect((await post(daemon, `/v1/runs/${id}/finish`, { status: 'completed' }))[0]).toBe(200)
  }
  const stored = `SELECT RunId, countIf(NOT startsWith(SpanName, 'validate ')), countIf(startsWith(SpanName, 'validate ')) FROM otel_traces GROUP BY RunId`
  await expect.poll(() => daemon.query(stored)).toEqual([['bad', '4', '2']])
  await until(async () => (await daemon.metrics()).sum('weir_wal_lag_spans', 'exporter="clickhouse"') === 0)
  // Its events, its root, its two verdicts.
  expect(await daemon.query(stored)).toEqual([['bad', '4', '2']])
})
