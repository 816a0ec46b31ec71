import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ACME, ADMIN, apiOnChdb, TOKENS, type ApiOnChdb } from '../support/api-on-chdb.ts'

let api: ApiOnChdb
beforeAll(async () => {
  api = await apiOnChdb({ tokens: TOKENS })
  const now = 'now64(9) - INTERVAL 1 MINUTE'
  await api.exec(`INSERT INTO weir.otel_traces
    (TenantId, Timestamp, TraceId, SpanId, SpanName, RunId, UserId, AgentName, Operation, ModelCall, PriceModel, InputTokens, CostUsd, CostStatus, ServiceName) VALUES
    ('acme', ${now}, 'trace-acme', 'a1', 'mine', 'run-acme', 'user-acme', 'agent-acme', 'chat', 1, 'model-acme', 1, 0.5, 'computed', 'svc-acme'),
    ('acme', ${now}, 'trace-acme', 'a2', 'mine', 'run-acme', 'user-acme', 'agent-acme', 'execute_tool', 0, '', 0, 0, 'none', 'svc-acme'),
    ('beta', ${now}, 'trace-beta', 'b1', 'secret', 'run-beta', 'user-beta', 'agent-beta', 'chat', 1, 'model-beta', 7, 99, 'computed', 'svc-beta'),
    ('', ${now}, 'trace-nobody-beta', 'n1', 'secret', '', '', '', '', 0, '', 0, 0, 'none', 'svc-beta')`)
})
afterAll(() => api.stop())

interface Answer {
  readonly status: number
  readonly text: string
  readonly rows: readonly (readonly unknown[])[]
}

async function ask(token: string, body: Record<string, unknown>): Promise<Answer> {
  const answer = await fetch(`${api.url}/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
    body: JSON.stringify(body),
  })
  const text = await answer.text()
  const { rows = [] } = JSON.parse(text) as { rows?: Answer['rows'] }
  return { status: answer.status, text, rows }
}

/** Ways to look for another tenant's rows. Each runs; none may show one. */
const PROBES = [
  'SELECT * FROM otel_traces',
  'SELECT * FROM weir.otel_traces',
  'SELECT * FROM `weir`.`otel_traces` AS t',
  "SELECT * FROM otel_traces WHERE TenantId = 'beta'",
  "SELECT * FROM otel_traces PREWHERE TenantId = 'beta'",
  "SELECT * FROM otel_traces WHERE 1 OR TenantId = 'beta'",
  'SELECT SpanName FROM otel_traces UNION ALL SELECT ServiceName FROM otel_traces',
  '(SELECT SpanName FROM otel_traces) UNION DISTINCT (SELECT UserId FROM otel_traces)',
  "SELECT 'x' AS SpanName EXCEPT SELECT 'y' UNION ALL SELECT UserId FROM otel_traces",
  'SELECT b.* FROM otel_traces AS a JOIN otel_traces AS b ON 1 = 1',
  'SELECT b.UserId FROM (SELECT 1 AS one) AS a CROSS JOIN otel_traces AS b',
  'SELECT a.UserId FROM otel_traces AS a FULL JOIN otel_traces AS b ON a.SpanId = b.TraceId',
  'WITH t AS (SELECT * FROM otel_traces) SELECT * FROM t',
  'WITH otel_traces AS (SELECT * FROM weir.otel_traces) SELECT * FROM otel_traces',
  'WITH (SELECT groupArray(UserId) FROM otel_traces) AS s SELECT s',
  'SELECT (SELECT groupArray(UserId) FROM otel_traces)',
  "SELECT 'x' WHERE 'user-beta' IN (SELECT UserId FROM otel_traces)",
  "SELECT if(EXISTS(SELECT 1 FROM otel_traces WHERE UserId = 'user-beta'), concat('be', 'ta'), 'none') AS answer",
  'SELECT arrayJoin((SELECT groupUniqArray(ServiceName) FROM otel_traces))',
  'WITH RECURSIVE r AS (SELECT UserId, 1 AS n FROM otel_traces UNION ALL SELECT t.UserId, n + 1 FROM otel_traces AS t, r WHERE n < 2) SELECT * FROM r',
  'SELECT * FROM (SELECT * FROM (SELECT UserId AS TenantId FROM otel_traces))',
  "SELECT UserId, 'acme' AS TenantId FROM otel_traces",
  'SELECT * REPLACE (UserId AS TenantId) FROM otel_traces',
  'SELECT count(), any(UserId), topK(9)(TraceId), groupArray(CostUsd) FROM otel_traces',
  'SELECT UserId, sum(CostUsd) OVER (ORDER BY UserId) FROM otel_traces',
  'SELECT SpanAttributeItems, ResourceAttributeItems, TraceId FROM otel_traces',
  'SELECT TraceId FROM otel_traces_trace_id_ts',
  'SELECT TraceId FROM otel_traces_trace_id_ts_mv',
  'SELECT * FROM otel_traces_trace_id_ts AS i JOIN otel_traces AS t USING (TraceId)',
  'SELECT Name FROM otel_traces_migrations',
  'SELECT * FROM llm_calls',
  'SELECT * FROM weir.tool_calls',
  'SELECT * FROM agent_runs',
  'SELECT * FROM cost_daily',
  'SELECT * FROM violations',
  'SELECT v.* FROM llm_calls AS v RIGHT JOIN otel_traces AS t ON v.SpanId = t.SpanId',
  'SELECT _part, TraceId FROM otel_traces',
  'SELECT max(InputTokens) AS m, sum(CostUsd) AS c FROM otel_traces HAVING m > 6 OR c > 90',
]

describe("a tenant's token", () => {
  it.each(PROBES)('sees only its own rows: %s', async (sql) => {
    const { status, text } = await ask(ACME, { sql })
    expect({ status, text }).toEqual({
      status: 200,
      text: expect.not.stringMatching(/beta|secret|"99/) as string,
    })
    // The same question shows an admin more, or it would prove nothing.
    const all = await ask(ADMIN, { sql })
    expect(all.status).toBe(200)
  })

  it('sees its own rows', async () => {
    const { rows } = await ask(ACME, { sql: 'SELECT count(), uniq(TenantId), any(UserId) FROM otel_traces' })
    expect(rows).toEqual([['2', '1', 'user-acme']])
    expect((await ask(ACME, { sql: 'SELECT count() FROM llm_calls' })).rows).toEqual([['1']])
    expect((await ask(ACME, { sql: 'SELECT RunId FROM agent_runs' })).rows).toEqual([['run-acme']])
    expect((await ask(ADMIN, { sql: 'SELECT count() FROM otel_traces' })).rows).toEqual([['4']])
  })

  it.each([
    "SELECT UserId FROM otel_traces SETTINGS additional_table_filters = ''",
    "SELECT * FROM merge('weir', 'otel_traces')",
    "SELECT * FROM mergeTreeIndex('weir', 'otel_traces')",
    "SELECT * FROM remote('127.0.0.1', weir.otel_traces)",
    "SELECT 'user-beta' IN weir.otel_traces",
    'SELECT * FROM system.parts',
    "SELECT * FROM file('otel_traces/data.bin')",
    'SELECT * FROM otel_traces; SELECT * FROM otel_traces',
  ])('is refused what would go around the filter: %s', async (sql) => {
    const { status, text } = await ask(ACME, { sql })
    expect(status).toBe(400)
    expect(text).not.toMatch(/user-beta"|trace-beta/)
  })

  it('asks the named questions of its own rows', async () => {
    const { queries } = (await (
      await fetch(`${api.url}/v1/named-queries`, { headers: { authorization: `Bearer ${ACME}` } })
    ).json()) as { queries: { name: string }[] }
    expect(queries).toHaveLength(12)
    for (const { name } of queries) {
      const { status, text } = await ask(ACME, { named: name })
      expect([name, status, /beta|"99/.test(text)]).toEqual([name, 200, false])
    }
  })
})

describe('limits', () => {
  it('ends a query that takes too long', async () => {
    const sql = 'SELECT count() FROM numbers(1000000000000) WHERE number % 7 = 3'
    const { status, text } = await ask(ADMIN, { sql, limits: { timeout_ms: 1000 } })
    expect(status).toBe(400)
    expect(text).toMatch(/QUERY_FAILED/)
  })

  it('ends a query that takes too much memory', async () => {
    const { status, text } = await ask(ADMIN, {
      sql: 'SELECT length(groupArray(number)) FROM numbers(1000000000)',
    })
    expect(status).toBe(400)
    expect(text).toMatch(/emory/)
  })

  it('cuts rows', async () => {
    const { rows, text } = await ask(ADMIN, {
      sql: 'SELECT number FROM numbers(100000)',
      limits: { max_rows: 10 },
    })
    expect(rows).toHaveLength(10)
    expect(text).toContain('"truncated":true')
  })
})
