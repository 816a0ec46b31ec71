/**
 * The analysts' twelve questions, on the columns of contract section 6. Every parameter has a default. What is counted,
 * summed or averaged over traces is weighed by `SampleRate`: a span stands for those that sampling left out. What is
 * said of one trace is not: it is what that trace cost.
 */
export interface NamedQuery {
  readonly name: string
  readonly title: string
  readonly sql: string
  readonly params: Readonly<Record<string, string | number>>
}

const LLM = 'ModelCall = 1'
/** As it stands in the prices; one without a price as who answered calls it, else as who asked does. */
export const MODEL = "multiIf(PriceModel != '', PriceModel, ResponseModel != '', ResponseModel, RequestModel)"
const SINCE = 'Timestamp >= now() - toIntervalDay({days:UInt32})'
const MS = 'Duration / 1e6'
const CALLS = 'toUInt64(round(sum(SampleRate)))'
const WEIGHT = 'toUInt64(greatest(1, round(SampleRate)))'
/** All that a model read, and all that it wrote: the columns are disjoint. */
const READ =
  'toUInt64(InputTokens) + CacheReadTokens + CacheWriteTokens + CacheWrite1hTokens + AudioInputTokens + ImageInputTokens'
const WRITTEN = 'toUInt64(OutputTokens) + ReasoningTokens + AudioOutputTokens + ImageOutputTokens'
/** The agent that a run was asked of; of two that start at once the one around the other. */
const FIRST_AGENT = "argMinIf(AgentName, (Timestamp, -toInt64(Duration)), AgentName != '')"
/** Exact to the last decimal where nothing was sampled. */
const USD = weighted('CostUsd')

function weighted(cost: string): string {
  return `CAST(sum(toDecimal256(${cost}, 12) * toDecimal256(SampleRate, 6)), 'Decimal(76, 12)')`
}

function sum(tokens: string): string {
  return `toUInt64(round(sum((${tokens}) * SampleRate)))`
}

function countIf(condition: string): string {
  return `toUInt64(round(sumIf(SampleRate, ${condition})))`
}

function named(name: string, title: string, sql: string, days: number): NamedQuery {
  return { name, title, sql, params: { days } }
}

export const NAMED_QUERIES: readonly NamedQuery[] = [
  named(
    '01-spend-by-model-and-day',
    'What does each model cost per day?',
    `SELECT toDate(Timestamp) AS Day, Provider, ${MODEL} AS Model, ${USD} AS Usd, ${CALLS} AS Calls,
  ${sum(READ)} AS TokensIn, ${sum(WRITTEN)} AS TokensOut
FROM otel_traces WHERE ${LLM} AND ${SINCE}
GROUP BY Day, Provider, Model ORDER BY Day, Usd DESC`,
    30,
  ),
  named(
    '02-spend-by-user',
    'Which end users cost most, and what share?',
    `SELECT UserId, ${USD} AS Usd, round(toFloat64(Usd) / nullIf(sum(toFloat64(Usd)) OVER (), 0), 4) AS Share
FROM otel_traces WHERE ${LLM} AND ${SINCE} GROUP BY UserId ORDER BY Usd DESC LIMIT 20`,
    7,
  ),
  named(
    '03-cache-hits',
    'How much input comes from the cache?',
    `SELECT ${MODEL} AS Model, ${sum('CacheReadTokens')} AS Cached, ${sum(READ)} AS Input,
  round(Cached / nullIf(Input, 0), 3) AS HitRatio, ${weighted('CostCacheReadUsd')} AS CacheReadUsd
FROM otel_traces WHERE ${LLM} AND ${SINCE} GROUP BY Model ORDER BY Cached DESC`,
    30,
  ),
  named(
    '04-latency-by-model-and-hour',
    'How slow is each model, hour by hour?',
    `SELECT toStartOfHour(Timestamp) AS Hour, ${MODEL} AS Model, ${CALLS} AS Calls,
  arrayMap(x -> round(x), quantilesTDigestWeighted(0.5, 0.95, 0.99)(${MS}, ${WEIGHT})) AS P50P95P99Ms
FROM otel_traces WHERE ${LLM} AND ${SINCE} GROUP BY Hour, Model ORDER BY Hour, Model`,
    1,
  ),
  named(
    '05-first-token-and-speed',
    'Time to first token and tokens per second, streaming calls only',
    `SELECT ${MODEL} AS Model, ${CALLS} AS Calls, round(quantileTDigestWeighted(0.95)(TimeToFirstTokenMs, ${WEIGHT})) AS FirstTokenP95Ms,
  round(quantileTDigestWeighted(0.5)((${WRITTEN}) / ((${MS} - TimeToFirstTokenMs) / 1000), ${WEIGHT}), 1) AS TokensPerSecond
FROM otel_traces WHERE TimeToFirstTokenMs > 0 AND ${MS} > TimeToFirstTokenMs AND ${SINCE}
GROUP BY Model ORDER BY Calls DESC`,
    1,
  ),
  named(
    '06-cost-per-run',
    'What does one run of each agent cost?',
    `SELECT Agent, ${CALLS} AS Runs, round(sum(Usd * SampleRate) / sum(SampleRate), 6) AS AvgUsd,
  round(quantileTDigestWeighted(0.95)(Usd, ${WEIGHT}), 6) AS P95Usd, round(sum(Steps * SampleRate) / sum(SampleRate), 1) AS AvgSteps
FROM (SELECT TenantId, TraceId, ${FIRST_AGENT} AS Agent, toFloat64(sum(CostUsd)) AS Usd,
    countIf(Operation != '') AS Steps, max(SampleRate) AS SampleRate
  FROM otel_traces WHERE ${SINCE} GROUP BY TenantId, TraceId)
GROUP BY Agent ORDER BY AvgUsd DESC`,
    7,
  ),
  named(
    '07-dearest-traces',
    'Which traces cost most, and do they loop?',
    `SELECT TenantId, TraceId, sum(CostUsd) AS Usd, countIf(${LLM}) AS Calls, countIf(Operation = 'execute_tool') AS Tools,
  max(${READ}) AS LargestContext
FROM otel_traces WHERE ${SINCE} GROUP BY TenantId, TraceId ORDER BY Usd DESC LIMIT 20`,
    1,
  ),
  named(
    '08-money-on-failures',
    'What was paid for calls that failed or were cut off?',
    `SELECT ${MODEL} AS Model, if(StatusCode = 'Error', concat('error ', SpanAttributes['error.type']), FinishReason) AS Why,
  ${CALLS} AS Calls, ${USD} AS Usd
FROM otel_traces
WHERE ${LLM} AND (StatusCode = 'Error' OR FinishReason IN ('length', 'max_tokens', 'content_filter')) AND ${SINCE}
GROUP BY Model, Why ORDER BY Usd DESC`,
    7,
  ),
  named(
    '09-tools',
    'Which tools fail, and how slow are they?',
    `SELECT ToolName, ${CALLS} AS Calls, round(sumIf(SampleRate, StatusCode = 'Error') / sum(SampleRate), 4) AS ErrorRate,
  round(quantileTDigestWeighted(0.95)(${MS}, ${WEIGHT})) AS P95Ms
FROM otel_traces WHERE Operation = 'execute_tool' AND ${SINCE} GROUP BY ToolName ORDER BY Calls DESC`,
    7,
  ),
  named(
    '10-unpriced-and-disputed',
    'Which models have no price, or another one than the sender says?',
    `SELECT Provider, ResponseModel, ${countIf("CostStatus = 'unpriced'")} AS Unpriced, topK(3)(CostReason) AS Reasons,
  ${countIf('abs(toFloat64(CostProvidedUsd) - toFloat64(CostUsd)) > 0.05 * greatest(toFloat64(CostUsd), toFloat64(CostProvidedUsd))')} AS Differ,
  ${CALLS} AS Calls
FROM otel_traces WHERE ${LLM} AND ${SINCE} GROUP BY Provider, ResponseModel
HAVING Unpriced > 0 OR Differ > 0 ORDER BY Calls DESC`,
    7,
  ),
  named(
    '11-week-over-week',
    'Why did spend change since last week: volume, tokens per call, or price?',
    `WITH w AS (SELECT ${MODEL} AS Model, toMonday(Timestamp) AS Week, ${CALLS} AS Calls,
    ${sum(`${READ} + ${WRITTEN}`)} / Calls AS PerCall,
    toFloat64(${USD}) / nullIf(${sum(`${READ} + ${WRITTEN}`)}, 0) AS PerToken
  FROM otel_traces WHERE ${LLM} AND ${SINCE} GROUP BY Model, Week)
SELECT a.Model AS Model, a.Week AS Week,
  round(a.Calls * a.PerCall * a.PerToken - b.Calls * b.PerCall * b.PerToken, 4) AS ChangeUsd,
  round((a.Calls - b.Calls) * b.PerCall * b.PerToken, 4) AS ByVolume,
  round(a.Calls * (a.PerCall - b.PerCall) * b.PerToken, 4) AS ByTokensPerCall,
  round(a.Calls * a.PerCall * (a.PerToken - b.PerToken), 4) AS ByPrice
FROM w AS a JOIN w AS b ON a.Model = b.Model AND a.Week = b.Week + toIntervalDay(7)
ORDER BY abs(ChangeUsd) DESC`,
    15,
  ),
  named(
    '12-prompt-versions',
    'Which version of a prompt is cheaper, faster, safer?',
    `SELECT coalesce(nullIf(SpanAttributes['gen_ai.prompt.name'], ''), SpanAttributes['langfuse.prompt.name']) AS Prompt,
  coalesce(nullIf(SpanAttributes['gen_ai.prompt.version'], ''), SpanAttributes['langfuse.prompt.version']) AS Version,
  ${CALLS} AS Calls, round(sum(toFloat64(CostUsd) * SampleRate) / sum(SampleRate), 6) AS AvgUsd,
  round(quantileTDigestWeighted(0.95)(${MS}, ${WEIGHT})) AS P95Ms,
  round(sumIf(SampleRate, StatusCode = 'Error') / sum(SampleRate), 4) AS ErrorRate, round(sum((${WRITTEN}) * SampleRate) / sum(SampleRate)) AS AvgTokensOut
FROM otel_traces WHERE ${LLM} AND Prompt != '' AND ${SINCE}
GROUP BY Prompt, Version ORDER BY Prompt, Version`,
    14,
  ),
]

/** By full name, by number (`1`, `01`), or undefined. */
export function namedQuery(name: string): NamedQuery | undefined {
  const number = /^\d{1,2}$/.test(name) ? `${name.padStart(2, '0')}-` : undefined
  return NAMED_QUERIES.find(
    (query) => query.name === name || (number !== undefined && query.name.startsWith(number)),
  )
}
