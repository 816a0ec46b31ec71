import type { QueryRequest, QueryResult } from '../../pipeline/component.ts'
import { faultOf, messageOf, reject, retry } from '../../pipeline/fault.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import type { Answer, Connection, Settings } from './connection.ts'
import { codeOf } from './faults.ts'
import { checkedSelect } from './guard.ts'
import type { Target } from './target.ts'

/**
 * Runs a user's SELECT. Limits and the tenant's filter are set where his text cannot reach them: embedded, on a
 * session made for this query; on a server, in the request. `readonly = 1` then freezes them, and `guard.ts` refuses what slips past readonly.
 */
export async function userQuery(
  connection: Connection,
  target: Target,
  request: QueryRequest,
  signal: AbortSignal,
): Promise<QueryResult> {
  const started = performance.now()
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(request.timeoutMs)])
  const reader = await connection.reader(await limits(connection, target, request))
  try {
    const sql =
      request.own === true
        ? request.sql
        : await checkedSelect(connection, request.sql, request.params, target.database, deadline)
    const answer = await reader.rows(sql, request.params, deadline)
    return resultOf(answer, request, performance.now() - started)
  } catch (error) {
    throw queryFault(error, signal, deadline, request.timeoutMs)
  } finally {
    await reader.close()
  }
}

/** One more row than asked for tells a full result from a cut one. Small blocks let `break` stop soon after the limit. */
async function limits(connection: Connection, target: Target, request: QueryRequest): Promise<Settings> {
  const base = {
    max_result_rows: request.maxRows + 1,
    max_result_bytes: request.maxBytes,
    result_overflow_mode: 'break',
    max_block_size: Math.max(1, Math.min(8192, request.maxRows + 1)),
    max_execution_time: Math.max(1, Math.ceil(request.timeoutMs / 1000)),
    timeout_overflow_mode: 'throw',
    max_memory_usage: MAX_MEMORY,
    max_threads: 2,
    allow_introspection_functions: 0,
    output_format_json_quote_64bit_integers: 1,
    output_format_json_quote_decimals: 1,
  }
  // EXPLAIN in a subquery is not a read to `readonly`; our own statements execute nothing of a user's.
  if (request.own === true) return base
  if (request.tenant === undefined) return { ...base, readonly: 1 }
  const filters = await tenantFilters(connection, target, request.tenant)
  return { ...base, additional_table_filters: filters, readonly: 1 }
}

/** Beside a running insert, within the exporter's own bound. */
const MAX_MEMORY = 1 << 30

/** Every table of the database: rows of the tenant where it says whose they are, none where it does not. Views read through these. */
async function tenantFilters(connection: Connection, target: Target, tenant: string): Promise<string> {
  const { data } = await connection.rows(
    `SELECT table, countIf(name = 'TenantId') FROM system.columns WHERE database = ${quoteText(target.database)} GROUP BY table`,
    {},
  )
  const items = data.map(([table, has]) => {
    const filter = Number(has) > 0 ? `TenantId = ${quoteText(tenant)}` : '0'
    return `${quoteText(`${target.database}.${String(table)}`)}:${quoteText(filter)}`
  })
  return `{${items.join(',')}}`
}

function resultOf(answer: Answer, request: QueryRequest, elapsedMs: number): QueryResult {
  const rows: (readonly unknown[])[] = []
  let bytes = 0
  for (const row of answer.data) {
    bytes += JSON.stringify(row).length
    if (rows.length >= request.maxRows || bytes > request.maxBytes) break
    rows.push(row)
  }
  return { columns: answer.meta, rows, truncated: rows.length < answer.data.length, elapsedMs }
}

/** The user's mistakes and limits are final; what the engine could not do now may work later. */
function queryFault(error: unknown, signal: AbortSignal, deadline: AbortSignal, timeoutMs: number) {
  const fault = faultOf(error)
  if (fault !== undefined) return fault
  if (signal.aborted) return reject('CANCELLED', 'query: given up by the caller')
  if (deadline.aborted) return reject('QUERY_FAILED', `query: took longer than ${timeoutMs} ms`)
  const code = codeOf(error)
  if (code === '') return retry('QUERY_FAILED', `query: ${messageOf(error)}`, undefined, { cause: error })
  return reject('QUERY_FAILED', `query: ${messageOf(error)} (code ${code})`, { cause: error })
}
