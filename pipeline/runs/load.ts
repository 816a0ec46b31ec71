import type { QueryRequest, QueryResult } from '../component.ts'
import { reject } from '../fault.ts'
import { runSteps } from './build.ts'
import type { RunSteps } from './steps.ts'
import { selectRun, storedSpan } from './stored-span.ts'

/** Who asks ClickHouse: `Host.query` in the main process, `Exporter.queryable` in the store process. */
export type Ask = (request: QueryRequest, signal: AbortSignal) => Promise<QueryResult>

export interface RunRef {
  /** A run id or a trace id, as its sender wrote it. */
  readonly id: string
  /** Only of this tenant. Needed where several tenants have a run of that id. */
  readonly tenant?: string | undefined
}

/** Of one run. What is beyond is left out, and `truncated` says so. */
export const RUN_LIMITS = { maxRows: 20_000, maxBytes: 32 * 1024 * 1024, timeoutMs: 30_000 }

/**
 * A run's steps, from the store. Rejects with NOT_FOUND, or with REQUEST_INVALID where several tenants have that id, or
 * with the query's Fault.
 */
export async function loadRun(
  ask: Ask,
  { id, tenant }: RunRef,
  signal: AbortSignal,
  limits: Pick<QueryRequest, 'maxRows' | 'maxBytes' | 'timeoutMs'> = RUN_LIMITS,
): Promise<RunSteps> {
  const params = { ...runParams(id), ...(tenant !== undefined && { tenant }) }
  const sql = selectRun(tenant !== undefined)
  const { rows, truncated } = await ask({ sql, params, own: true, ...limits }, signal)
  const spans = rows.map(storedSpan)
  const tenants = [...new Set(spans.map((span) => span.tenant))]
  if (tenants.length > 1) {
    throw reject('REQUEST_INVALID', `tenants ${tenants.join(', ')} have a run ${id}: name one`)
  }
  const steps = runSteps(id, spans, truncated)
  if (steps !== undefined) return steps
  throw reject('NOT_FOUND', `there is no run ${id} (a span is stored a moment after it was acknowledged)`)
}

/** What `{id:String}` and `{hex:String}` stand for: a UUID is a trace id in another spelling. */
export function runParams(id: string): { readonly id: string; readonly hex: string } {
  return { id, hex: id.replaceAll('-', '').toLowerCase() }
}
