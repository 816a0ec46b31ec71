import { afterAll, beforeAll, expect, it } from 'vitest'
import { verb as cost } from '../../cmd/cost.ts'
import { apiOnChdb, type ApiOnChdb } from '../support/api-on-chdb.ts'

let api: ApiOnChdb
beforeAll(async () => {
  api = await apiOnChdb()
  const now = 'now64(9) - INTERVAL 1 MINUTE'
  const call = (trace: string, rate: number, usd: string, error: string) =>
    `('acme', ${now}, '${trace}', 's', 'chat', 'user', 'agent', 'chat', 1, 'model', 100, ${usd}, 'computed', ${rate}, '${error}')`
  await api.exec(`INSERT INTO weir.otel_traces
    (TenantId, Timestamp, TraceId, SpanId, SpanName, UserId, AgentName, Operation, ModelCall, PriceModel, InputTokens, CostUsd, CostStatus, SampleRate, StatusCode) VALUES
    ${call('t1', 1, '0.000000000001', 'Error')}, ${call('t2', 10, '0.000000000003', 'Ok')}`)
})
afterAll(() => api.stop())

async function ask(body: object): Promise<readonly Record<string, unknown>[]> {
  const answer = await fetch(`${api.url}/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify(body),
  })
  const { columns, rows } = (await answer.json()) as { columns: { name: string }[]; rows: unknown[][] }
  return rows.map((row) => Object.fromEntries(columns.map(({ name }, at) => [name, row[at]])))
}

it('what is summed over traces stands for those that were left out, to the last decimal', async () => {
  const [spend] = await ask({ named: '01-spend-by-model-and-day' })
  expect(spend).toMatchObject({ Usd: '0.000000000031', Calls: '11', TokensIn: '1100' })
  const [daily] = await ask({ sql: 'SELECT CostUsd, Calls, TotalInputTokens FROM cost_daily' })
  expect(daily).toEqual({ CostUsd: '0.000000000031', Calls: '11', TotalInputTokens: '1100' })
  const [runs] = await ask({ named: '06-cost-per-run' })
  expect(runs).toMatchObject({ Runs: '11' })
  const told = await api.verb(cost, ['--json'])
  expect(JSON.parse(told.out)).toMatchObject({ total: { calls: '11', usd: '0.000000000031', input: '1100' } })
})

it('what is said of one trace is its own', async () => {
  const traces = await ask({ named: '07-dearest-traces' })
  expect(traces.map(({ TraceId, Usd }) => [TraceId, Usd])).toEqual([
    ['t2', '0.000000000003'],
    ['t1', '0.000000000001'],
  ])
  const runs = await ask({ sql: 'SELECT TraceId, LlmCalls, SampleRate FROM agent_runs ORDER BY TraceId' })
  expect(runs).toEqual([
    { TraceId: 't1', LlmCalls: '1', SampleRate: 1 },
    { TraceId: 't2', LlmCalls: '1', SampleRate: 10 },
  ])
})
