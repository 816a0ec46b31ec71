import { verb as cost } from '../cmd/cost.ts'
import { apiOnChdb } from '../test/support/api-on-chdb.ts'

/**
 * What an answer of `weir cost` takes, embedded: `node dist/bench/agents.bench.js [ROWS]` after a build (default 1,000,000 spans in
 * 23 hours, traces of 20). Half of the spans are calls, none names an agent; three nested agents per trace do, up to two levels above them.
 */
const ROWS = Number(process.argv[2] ?? 1_000_000)
const RUNS = 3

/** By place in the trace. */
const PARENTS = [-1, 0, 1, 1, 3, 1, 1, 6, 7, 8, 8, 8, 8, 1, 13, 13, 13, 16, 1, 0]
const AGENTS = PARENTS.map((_, place) => ({ 1: 'planner', 7: 'researcher', 13: 'writer' })[place] ?? '')
const CALLS = [2, 5, 9, 11, 12, 14, 15, 17, 18, 19]

const list = (values: readonly (string | number)[]): string =>
  `[${values.map((value) => (typeof value === 'string' ? `'${value}'` : value)).join()}]`

const FILL = `INSERT INTO weir.otel_traces
  (Timestamp, TraceId, SpanId, ParentSpanId, SpanName, ServiceName, SpanAttributes, TenantId, AgentName, ModelCall, Provider, ResponseModel, PriceModel,
   InputTokens, OutputTokens, CostUsd, CostStatus)
  WITH intDiv(number, 20) AS run, number % 20 AS place, ${list(PARENTS)}[place + 1] AS up, ${list(AGENTS)}[place + 1] AS agent
  SELECT now64(9) - toIntervalSecond(intDiv((${ROWS} - number) * 82800, ${ROWS})), lower(hex(sipHash128(run))), lower(hex(sipHash64(number))),
   if(up < 0, '', lower(hex(sipHash64(run * 20 + up)))), concat('step ', toString(place)), 'shop', map('gen_ai.prompt', randomPrintableASCII(200)),
   't' || toString(run % 20), if(agent = '', '', agent || toString(run % 10)), has(${list(CALLS)}, place), 'openai', 'gpt-4o', 'gpt-4o', 100, 50, 0.001, 'computed'
  FROM numbers(${ROWS})`

async function run(): Promise<void> {
  const api = await apiOnChdb()
  await api.exec(FILL)
  for (const by of ['model', 'service', 'agent', 'agent,model']) {
    const times: number[] = []
    for (let i = 0; i < RUNS; i++) {
      const started = performance.now()
      await api.verb(cost, ['--by', by])
      times.push(Math.round(performance.now() - started))
    }
    process.stdout.write(
      `--by ${by}: ${times.join(', ')} ms, RSS ${Math.round(process.memoryUsage().rss / 1e6)} MB\n`,
    )
  }
  await api.stop()
}

await run()
