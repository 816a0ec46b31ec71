import { parseArgs } from 'node:util'
import { agentOfCall } from '../extensions/api/agent-of-call.ts'
import { MODEL } from '../extensions/api/named-queries.ts'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type QueryAnswer } from './client.ts'
import { cellOf, table, type Column } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const SINCE = 'Timestamp >= now() - toIntervalSecond({since:UInt32})'
const AGENT = agentOfCall(SINCE)

/** What cost can be divided by: a word → an expression over the columns of calls. */
const BY: Readonly<Record<string, string>> = {
  model: MODEL,
  provider: 'Provider',
  tenant: 'TenantId',
  project: 'ProjectId',
  agent: AGENT.agent,
  user: 'UserId',
  session: 'SessionId',
  run: 'RunId',
  trace: 'TraceId',
  service: 'ServiceName',
  operation: 'Operation',
  tier: 'ServiceTier',
  finish: 'FinishReason',
  day: 'toString(toDate(Timestamp))',
  hour: 'toString(toStartOfHour(Timestamp))',
}

export const verb: Verb = {
  name: 'cost',
  summary: 'What model calls cost: calls, tokens, USD and what has no price.',
  help: `Usage: weir cost [--by model,tenant,agent,user,…] [--since 24h] [--limit 50] [--json]

  --by LIST          divide by: ${Object.keys(BY).join(', ')} (default model)
  --since DURATION   how far back, by the call's start: 30m, 24h, 7d (default 24h)
  --limit N          most lines; the total is over everything (default 50)
  --json             data instead of a table
${CLIENT_HELP}

A call's agent is the one it names, else that of the nearest span above it that names one; (none) where none does or
a span between is not stored: one that still runs, for example.
Token columns are disjoint. "unpriced" are calls without a price, with the reason: their cost is unknown, not 0.
Where traces were sampled the figures are estimates of what there was: each call counts for SampleRate calls.

Examples:
  weir cost
  weir cost --by agent,model --since 7d
`,
  run,
}

/** Calls stand for those that sampling left out; without sampling the figures are exact. */
const CALLS = 'toUInt64(round(sum(SampleRate)))'

function sum(tokens: string): string {
  return `toUInt64(round(sum((${tokens}) * SampleRate)))`
}

/** Disjoint buckets of `llm_calls`, in the order of the table. */
const BUCKETS: readonly (readonly [title: string, sql: string])[] = [
  ['input', sum('InputTokens')],
  ['cache read', sum('CacheReadTokens')],
  ['cache write', sum('toUInt64(CacheWriteTokens) + CacheWrite1hTokens')],
  ['output', sum('OutputTokens')],
  ['reasoning', sum('ReasoningTokens')],
  ['audio', sum('toUInt64(AudioInputTokens) + AudioOutputTokens')],
  ['image', sum('toUInt64(ImageInputTokens) + ImageOutputTokens')],
]

const MEASURES = [
  `${CALLS} AS calls`,
  'count() AS stored',
  ...BUCKETS.map(([title, sql]) => `${sql} AS \`${title}\``),
  `CAST(sum(toDecimal256(CostUsd, 12) * toDecimal256(SampleRate, 6)), 'Decimal(76, 12)') AS usd`,
  "toUInt64(round(sumIf(SampleRate, CostStatus = 'unpriced'))) AS unpriced",
  "arrayStringConcat(arraySort(groupUniqArrayIf(5)(CostReason, CostStatus = 'unpriced')), ', ') AS reasons",
].join(', ')

const CALLS_OF_TIME = `FROM llm_calls WHERE ${SINCE}`
/** The agents of calls are found in the spans around them. */
const CALLS_WITH_AGENT = `FROM otel_traces ${AGENT.join} WHERE ModelCall = 1 AND ${SINCE}`

const FLAGS = {
  ...CLIENT_FLAGS,
  by: { type: 'string', default: 'model' },
  since: { type: 'string', default: '24h' },
  limit: { type: 'string', default: '50' },
  json: { type: 'boolean', default: false },
} as const

type Line = Readonly<Record<string, unknown>>

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values } = parseArgs({ args: [...argv], options: FLAGS })
  const by = byOf(values.by)
  const since = secondsOf(values.since)
  if (!/^[1-9]\d{0,5}$/.test(values.limit))
    throw new UsageError(`--limit ${values.limit} is not a number of lines`)
  const client = apiClient(io, values.endpoint)
  const groups = by.map((word) => `${BY[word]} AS \`by ${word}\``).join(', ')
  const names = by.map((word) => `\`by ${word}\``).join(', ')
  const from = by.includes('agent') ? CALLS_WITH_AGENT : CALLS_OF_TIME
  const params = { since, limit: Number(values.limit) }
  const [lines, [total = {}]] = await Promise.all([
    client
      .query({
        sql: `SELECT ${groups}, ${MEASURES} ${from} GROUP BY ${names} ORDER BY usd DESC, calls DESC, ${names} LIMIT {limit:UInt32}`,
        params,
      })
      .then(linesOf),
    client.query({ sql: `SELECT ${MEASURES} ${CALLS_OF_TIME}`, params: { since } }).then(linesOf),
  ])
  if (values.json)
    io.out(`${safeJson(JSON.stringify({ since_seconds: since, by, lines: lines.map(plain), total }))}\n`)
  else io.out(lines.length === 0 ? `no model calls in the last ${values.since}\n` : report(by, lines, total))
  return 0
}

function byOf(text: string): readonly string[] {
  const words = [...new Set(text.split(',').map((word) => word.trim()))].filter((word) => word !== '')
  const unknown = words.find((word) => !Object.hasOwn(BY, word))
  if (unknown !== undefined || words.length === 0) {
    throw new UsageError(`--by ${unknown ?? text}: use ${Object.keys(BY).join(', ')}`)
  }
  return words
}

const SECONDS: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400, w: 604_800 }

function secondsOf(text: string): number {
  const [, amount = '', unit = ''] = /^(\d{1,6})([smhdw])$/.exec(text) ?? []
  const seconds = Number(amount) * (SECONDS[unit] ?? 0)
  if (amount === '' || seconds === 0 || seconds > 2 ** 31) {
    throw new UsageError(`--since ${text} is not a duration such as 30m, 24h or 7d`)
  }
  return seconds
}

function linesOf(answer: QueryAnswer): readonly Line[] {
  return answer.rows.map((row) =>
    Object.fromEntries(answer.columns.map(({ name }, index) => [name, row[index]])),
  )
}

function plain(line: Line): Line {
  return Object.fromEntries(Object.entries(line).map(([key, value]) => [key.replace(/^by /, ''), value]))
}

function report(by: readonly string[], lines: readonly Line[], total: Line): string {
  const buckets = BUCKETS.map(([title]) => title).filter((title) => Number(total[title]) > 0)
  const columns: Column[] = [
    ...by.map((title) => ({ title })),
    ...['calls', ...buckets, 'usd', 'share', 'unpriced'].map((title) => ({ title, right: true })),
    { title: 'why unpriced' },
  ]
  const row = (line: Line, heads: readonly string[]): string[] => [
    ...heads,
    count(line['calls']),
    ...buckets.map((title) => count(line[title])),
    usd(line['usd']),
    share(line['usd'], total['usd']),
    Number(line['unpriced']) === 0 ? '' : count(line['unpriced']),
    cellOf(line['reasons'] ?? ''),
  ]
  const body = lines.map((line) =>
    row(
      line,
      by.map((word) => cellOf(line[`by ${word}`]) || '(none)'),
    ),
  )
  const text = table(columns, [
    ...body,
    row(
      total,
      by.map((_, index) => (index === 0 ? 'total' : '')),
    ),
  ])
  const stored = count(total['stored'])
  return stored === count(total['calls'])
    ? text
    : `${text}estimated from ${stored} stored calls: traces were sampled\n`
}

/** 1234567 → 1,234,567. */
function count(value: unknown): string {
  return cellOf(value).replace(/\B(?=(?:\d{3})+$)/g, ',')
}

/** At least cents, at most the millionth of a dollar that a small call costs; digits of the decimal, not of a float. */
function usd(value: unknown): string {
  const [whole = '0', fraction = ''] = cellOf(value).split('.')
  const digits = fraction
    .padEnd(6, '0')
    .slice(0, 6)
    .replace(/0{1,4}$/, '')
  return `${count(whole)}.${digits}`
}

function share(part: unknown, whole: unknown): string {
  const all = Number(whole)
  return all > 0 ? `${((Number(part) / all) * 100).toFixed(1)}%` : ''
}
