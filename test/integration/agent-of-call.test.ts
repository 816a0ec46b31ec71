import { afterAll, beforeAll, expect, it } from 'vitest'
import { verb as cost } from '../../cmd/cost.ts'
import { ACME, ADMIN, apiOnChdb, TOKENS, type ApiOnChdb } from '../support/api-on-chdb.ts'

interface Row {
  readonly tenant?: string
  readonly trace: string
  readonly id: string
  readonly parent?: string
  readonly agent?: string
  /** A model call of this cost. */
  readonly usd?: number
  readonly minutesAgo?: number
}

let api: ApiOnChdb
beforeAll(async () => {
  api = await apiOnChdb({ tokens: TOKENS })
})
afterAll(() => api.stop())

/** Only these rows. */
async function store(rows: readonly Row[]): Promise<void> {
  await api.exec('TRUNCATE TABLE weir.otel_traces')
  const values = rows.map(
    ({ tenant = 'acme', trace, id, parent = '', agent = '', usd, minutesAgo = 5 }) =>
      `('${tenant}', now64(9) - toIntervalMinute(${minutesAgo}), '${trace}', '${id}', '${parent}', '${agent}', ${usd === undefined ? 0 : 1}, ${usd ?? 0})`,
  )
  await api.exec(
    `INSERT INTO weir.otel_traces (TenantId, Timestamp, TraceId, SpanId, ParentSpanId, AgentName, ModelCall, CostUsd) VALUES ${values.join()}`,
  )
}

async function byAgent(token: string, argv: readonly string[] = []): Promise<Record<string, number>> {
  const { out } = await api.verb(cost, ['--by', 'agent', '--json', ...argv], { env: { WEIR_TOKEN: token } })
  const { lines } = JSON.parse(out) as { lines: { agent: string; usd: string }[] }
  return Object.fromEntries(lines.map(({ agent, usd }) => [agent, Number(usd)]))
}

it('a call belongs to the nearest agent above it, whatever lies between and whoever else is in the trace', async () => {
  await store([
    { trace: 't', id: 'http' },
    { trace: 't', id: 'router', parent: 'http', usd: 1 },
    { trace: 't', id: 'planner', parent: 'http', agent: 'planner' },
    { trace: 't', id: 'p1', parent: 'planner', usd: 2 },
    { trace: 't', id: 'tool', parent: 'planner' },
    { trace: 't', id: 'writer', parent: 'tool', agent: 'writer' },
    { trace: 't', id: 'chain', parent: 'writer' },
    { trace: 't', id: 'w1', parent: 'chain', usd: 4 },
    { trace: 't', id: 'own', parent: 'chain', agent: 'editor', usd: 8 },
    { trace: 't', id: 'p2', parent: 'tool', usd: 16 },
    // Handed over to: beside, not below.
    { trace: 't', id: 'refunds', parent: 'http', agent: 'refunds' },
    { trace: 't', id: 'r1', parent: 'refunds', usd: 32 },
    { trace: 'alone', id: 'a', usd: 64 },
  ])
  expect(await byAgent(ADMIN)).toEqual({ planner: 18, writer: 4, editor: 8, refunds: 32, '': 65 })
})

it('nothing is guessed where the chain is broken or goes in a circle', async () => {
  await store([
    { trace: 'broken', id: 'agent', agent: 'finished' },
    { trace: 'broken', id: 'call', parent: 'still runs', usd: 1 },
    { trace: 'circle', id: 'agent', agent: 'beside' },
    { trace: 'circle', id: 'x', parent: 'y', usd: 2 },
    { trace: 'circle', id: 'y', parent: 'x' },
    { trace: 'circle', id: 'self', parent: 'self', usd: 4 },
    { trace: 'root', id: 'agent', parent: 'call', agent: 'below' },
    { trace: 'root', id: 'call', usd: 8 },
  ])
  expect(await byAgent(ADMIN)).toEqual({ '': 15 })
})

it("another tenant's agent with the same ids is not seen", async () => {
  const call = { trace: 't', id: 'call', parent: 'agent', usd: 1 }
  await store([
    call,
    { ...call, tenant: 'beta', usd: 2 },
    { tenant: 'beta', trace: 't', id: 'agent', agent: 'of beta' },
  ])
  expect(await byAgent(ACME)).toEqual({ '': 1 })
  expect(await byAgent(ADMIN)).toEqual({ '': 1, 'of beta': 2 })
})

it('spans stored twice count as calls twice and as parents once', async () => {
  const spans = [
    { trace: 't', id: 'call', parent: 'step', usd: 1 },
    { trace: 't', id: 'other', parent: 'unnamed', usd: 2 },
    { trace: 't', id: 'step', parent: 'inner' },
    { trace: 't', id: 'inner', parent: 'outer', agent: 'inner' },
    { trace: 't', id: 'unnamed', parent: 'outer' },
    { trace: 't', id: 'outer', agent: 'outer' },
  ]
  await store([...spans, ...spans.toReversed(), ...spans])
  expect(await byAgent(ADMIN)).toEqual({ inner: 3, outer: 6 })
})

it('looks up 64 levels, and a day further back than the calls', async () => {
  const steps = Array.from({ length: 100 }, (_, level) => ({
    trace: 't',
    id: `${level}`,
    parent: level === 0 ? 'agent' : `${level - 1}`,
  }))
  await store([
    { trace: 't', id: 'agent', agent: 'deep', minutesAgo: 23 * 60 },
    ...steps,
    { trace: 't', id: 'near', parent: '62', usd: 1 },
    { trace: 't', id: 'far', parent: '63', usd: 2 },
  ])
  expect(await byAgent(ADMIN, ['--since', '1h'])).toEqual({ deep: 1, '': 2 })
})

it('one trace of 50,000 spans takes no memory of their square', async () => {
  await api.exec('TRUNCATE TABLE weir.otel_traces')
  await api.exec(`INSERT INTO weir.otel_traces (TenantId, Timestamp, TraceId, SpanId, ParentSpanId, AgentName, ModelCall, CostUsd)
    SELECT 'acme', now64(9) - 60, 'big', toString(number), if(number = 0, '', toString(intDiv(number - 1, 3))), if(number = 0, 'one', ''), number > 0, if(number = 0, 0, 1)
    FROM numbers(50001)`)
  expect(await byAgent(ADMIN)).toEqual({ one: 50_000 })
})

it('the run of several agents is that of the agent that was asked', async () => {
  await store([
    { trace: 't', id: 'b', parent: 'a', agent: 'helper', usd: 1, minutesAgo: 4 },
    { trace: 't', id: 'a', agent: 'asked', minutesAgo: 6 },
    { trace: 't', id: 'c', parent: 'a', agent: 'another', usd: 2, minutesAgo: 5 },
  ])
  const answer = await fetch(`${api.url}/v1/query`, {
    method: 'POST',
    headers: { 'content-type': 'application/json', authorization: `Bearer ${ADMIN}` },
    body: JSON.stringify({ named: '06-cost-per-run' }),
  })
  expect(await answer.json()).toMatchObject({ rows: [['asked', '1', 3, 3, 0]] })
})
