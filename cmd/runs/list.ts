import { safeJson } from '../../pipeline/telemetry/safe-text.ts'
import type { ApiClient } from '../client.ts'
import { cellOf, isNumeric, table } from '../table.ts'
import { UsageError, type Io } from '../verb.ts'

interface Filter {
  readonly since: string
  readonly agent?: string | undefined
  readonly status?: string | undefined
  readonly tenant?: string | undefined
  readonly limit: string
  readonly json: boolean
}

const SQL = `SELECT RunId AS run, TenantId AS tenant, AgentName AS agent, Status AS status, toString(toDateTime(Started, 'UTC')) AS started,
  DurationMs AS ms, LlmCalls AS llm, ToolCalls AS tools, Errors AS errors, CostUsd AS usd
FROM agent_runs WHERE Started >= now() - toIntervalSecond({since:UInt32})
  AND ({agent:String} = '' OR AgentName = {agent:String}) AND ({status:String} = '' OR Status = {status:String})
  AND ({tenant:String} = '' OR TenantId = {tenant:String})
ORDER BY Started DESC, RunId LIMIT {limit:UInt32}`

const STATUSES: readonly string[] = ['running', 'completed', 'failed', 'abandoned']

const UNIT_S: Readonly<Record<string, number>> = { s: 1, m: 60, h: 3600, d: 86_400 }

/** The latest first. */
export async function listRuns(client: ApiClient, filter: Filter, io: Io): Promise<number> {
  const { agent = '', status = '', tenant = '' } = filter
  if (status !== '' && !STATUSES.includes(status)) {
    throw new UsageError(`--status ${status} is none of ${STATUSES.join(', ')}`)
  }
  const params = { since: secondsOf(filter.since), agent, status, tenant, limit: countOf(filter.limit) }
  const { columns, rows } = await client.query({ sql: SQL, params })
  if (filter.json) {
    const runs = rows.map((row) => Object.fromEntries(columns.map(({ name }, index) => [name, row[index]])))
    io.out(`${safeJson(JSON.stringify({ runs }))}\n`)
    return 0
  }
  if (rows.length === 0) {
    const wanted = agent + status + tenant === '' ? 'run' : 'such run'
    io.out(`no ${wanted} started in the last ${filter.since}; --since looks further back\n`)
    return 0
  }
  const heads = columns.map(({ name, type }) => ({ title: name, right: isNumeric(type) }))
  io.out(
    table(
      heads,
      rows.map((row) => row.map(cellOf)),
    ),
  )
  return 0
}

function secondsOf(text: string): number {
  const [, amount, unit = ''] = /^(\d{1,5})([smhd])$/.exec(text) ?? []
  if (amount === undefined) throw new UsageError(`--since ${text} is not a time such as 30m, 24h or 7d`)
  return Number(amount) * (UNIT_S[unit] ?? 1)
}

function countOf(text: string): number {
  if (!/^[1-9]\d{0,4}$/.test(text)) throw new UsageError(`--limit ${text} is not a number of runs`)
  return Number(text)
}
