import { z } from 'zod'
import type { QueryResult } from '../../pipeline/component.ts'
import { reject, retry } from '../../pipeline/fault.ts'
import type { Host } from '../../pipeline/host.ts'
import { checked } from '../../pipeline/input/issues.ts'
import { NAMED_QUERIES, namedQuery } from './named-queries.ts'
import type { Principal } from './principal.ts'
import { ok, type Reply } from './route.ts'
import { statementDetails } from './statement.ts'
import { guardSql, type QueryParams } from './sql-guard/guard.ts'

export interface QueryLimits {
  readonly max_rows: number
  readonly max_bytes: number
  readonly timeout: number
  readonly max_concurrent: number
}

const body = z
  .strictObject({
    sql: z.string().min(1).optional(),
    named: z.string().optional(),
    params: z
      .record(z.string().regex(/^\w+$/), z.union([z.string(), z.number(), z.boolean(), z.array(z.string())]))
      .default({}),
    limits: z
      .strictObject({
        max_rows: z.int().positive().optional(),
        max_bytes: z.int().positive().optional(),
        timeout_ms: z.int().positive().optional(),
      })
      .default({}),
  })
  .refine((value) => (value.sql === undefined) !== (value.named === undefined), {
    error: 'give either sql or named',
  })

type QueryBody = z.output<typeof body>

/** For our own statements, whose answers must be whole: the parsed form of 64 KiB of SQL stays below. */
const OWN_LIMITS = { maxRows: 200_000, maxBytes: 32 * 1024 * 1024, timeoutMs: 10_000 }

/** `POST /v1/query`: one checked SELECT within the limits, and no more of them at once than allowed. */
export class QueryRoute {
  readonly #host: Host
  readonly #limits: QueryLimits
  #running = 0

  constructor(host: Host, limits: QueryLimits) {
    this.#host = host
    this.#limits = limits
  }

  async run(input: unknown, principal: Principal, signal: AbortSignal): Promise<Reply> {
    const request = checked(body, input, { code: 'QUERY_REFUSED' })
    if (this.#running >= this.#limits.max_concurrent) {
      throw retry('OVERLOADED', `${this.#running} queries are running already`, 1000)
    }
    this.#running++
    try {
      const { result, sql, params } = await this.#query(request, principal, signal)
      const { columns, rows, truncated, elapsedMs } = result
      return ok(
        { columns, rows, truncated, elapsed_ms: elapsedMs },
        {
          object: request.named ?? 'sql',
          details: statementDetails({ sql, params, rows: rows.length }),
        },
      )
    } finally {
      this.#running--
    }
  }

  async #query(request: QueryBody, principal: Principal, signal: AbortSignal) {
    const { sql, params } = resolve(request)
    const timeoutMs = Math.min(request.limits.timeout_ms ?? Infinity, this.#limits.timeout)
    const guarded = await guardSql(sql, params, (own, values) => this.#ask(own, values, signal))
    const tenant = tenantOf(principal)
    const result: QueryResult = await this.#host.query(
      {
        sql: guarded,
        params,
        ...(tenant === undefined ? {} : { tenant }),
        maxRows: Math.min(request.limits.max_rows ?? Infinity, this.#limits.max_rows),
        maxBytes: Math.min(request.limits.max_bytes ?? Infinity, this.#limits.max_bytes),
        timeoutMs,
      },
      signal,
    )
    return { result, sql: guarded, params }
  }

  async #ask(sql: string, params: QueryParams, signal: AbortSignal): Promise<QueryResult['rows']> {
    const result = await this.#host.query({ sql, params, own: true, ...OWN_LIMITS }, signal)
    if (result.truncated) throw reject('QUERY_REFUSED', 'the query is refused: its parsed form is too large')
    return result.rows
  }
}

/** The tenant is the token's; only an admin sees all of them. */
export function tenantOf(principal: Principal): string | undefined {
  if (principal.tenant !== undefined) return principal.tenant
  if (principal.role === 'admin') return undefined
  throw reject('PERMISSION_DENIED', 'the token names no tenant')
}

function resolve(request: QueryBody): { sql: string; params: QueryParams } {
  if (request.sql !== undefined) return { sql: request.sql, params: request.params }
  const query = namedQuery(request.named ?? '')
  if (query === undefined) {
    const names = NAMED_QUERIES.map(({ name }) => name).join(', ')
    throw reject('NOT_FOUND', `there is no named query ${String(request.named)}; there are: ${names}`)
  }
  return { sql: query.sql, params: { ...query.params, ...request.params } }
}
