import { quoteName } from '../../proto/clickhouse/native.ts'
import { isEmbedded, type Config } from './config.ts'

/** Where the spans go: names as in the config, and quoted for SQL. */
export interface Target {
  readonly database: string
  readonly tracesName: string
  readonly traces: string
  readonly traceIdTsName: string
  readonly traceIdTs: string
  readonly traceIdTsView: string
}

export function targetOf(config: Config): Target {
  const database = config.database ?? (isEmbedded(config) ? 'weir' : 'default')
  return targetFor(database, config.traces_table_name)
}

export function targetFor(database: string, tracesName: string): Target {
  const qualified = (name: string) => `${quoteName(database)}.${quoteName(name)}`
  return {
    database,
    tracesName,
    traces: qualified(tracesName),
    traceIdTsName: `${tracesName}_trace_id_ts`,
    traceIdTs: qualified(`${tracesName}_trace_id_ts`),
    traceIdTsView: qualified(`${tracesName}_trace_id_ts_mv`),
  }
}

/** Fills the names into a migration or query. */
export function withNames(sql: string, target: Target): string {
  const names: Readonly<Record<string, string>> = {
    database: quoteName(target.database),
    traces: target.traces,
    trace_id_ts: target.traceIdTs,
    trace_id_ts_mv: target.traceIdTsView,
  }
  return sql.replace(/\{\{(\w+)\}\}/g, (whole, name: string) => names[name] ?? whole)
}
