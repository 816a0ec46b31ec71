import type { LogCopy } from '../../pipeline/audit/verify-state.ts'
import { Tampered } from '../../pipeline/audit/verify.ts'
import type { Host } from '../../pipeline/host.ts'

const LIMITS = { maxRows: 5000, maxBytes: 64 * 1024 * 1024, timeoutMs: 30_000 }
const STEP = 1000

/** What each field of `audit_log` must be of its line (exporters/clickhouse/migrations/0009_audit.sql). */
const FIELDS = [
  `Time = parseDateTime64BestEffort(JSONExtractString(Line, 'time'), 3, 'UTC')`,
  `Actor = JSONExtractString(Line, 'actor', 'id')`,
  `ActorKind = JSONExtractString(Line, 'actor', 'kind')`,
  `Action = JSONExtractString(Line, 'action')`,
  `Object = JSONExtractString(Line, 'object')`,
  `Tenant = JSONExtractString(Line, 'tenant')`,
  `Outcome = JSONExtractString(Line, 'outcome')`,
  `Address = JSONExtractString(Line, 'address')`,
  `UserAgent = JSONExtractString(Line, 'user_agent')`,
  `LegalBasis = JSONExtractString(Line, 'legal_basis')`,
  `Details = JSONExtractRaw(Line, 'details')`,
].join(' AND ')

const ROWS = `SELECT Seq, Line, ${FIELDS} FROM audit_log WHERE Log = {log:String} AND Seq BETWEEN {from:UInt64} AND {to:UInt64} ORDER BY Seq`
const LAST = 'SELECT max(Seq) FROM audit_log WHERE Log = {log:String}'

/** The copy as the log is compared with it, as far as that has come. */
export function copyCheck(host: Pick<Host, 'query'>, signal: AbortSignal): LogCopy {
  const ask = async (sql: string, params: Readonly<Record<string, string | number>>) =>
    (await host.query({ sql, params, own: true, ...LIMITS }, signal)).rows
  const lastOf = async (log: string): Promise<number> => Number((await ask(LAST, { log }))[0]?.[0] ?? 0)
  let last: number | undefined
  const check: LogCopy['check'] = async (log, first, lines) => {
    last ??= await lastOf(log)
    for (let at = 0; at < lines.length; at += STEP) {
      const from = first + at
      const to = Math.min(last, first + Math.min(lines.length, at + STEP) - 1)
      if (from > last) return
      compare(await ask(ROWS, { log, from, to }), lines.slice(at, to - first + 1), from)
    }
  }
  return { check, last: lastOf }
}

function compare(rows: readonly (readonly unknown[])[], lines: readonly string[], from: number): void {
  for (const [at, line] of lines.entries()) {
    const seq = from + at
    const [found, text, isRight] = rows[at] ?? []
    if (Number(found) !== seq) {
      const why = Number(found) < seq ? 'stands twice' : 'is missing'
      throw new Tampered('copy', seq, `entry ${seq} ${why} in audit_log of ClickHouse`)
    }
    if (text === line && Number(isRight) === 1) continue
    throw new Tampered('copy', seq, `entry ${seq} is another in audit_log of ClickHouse`)
  }
  if (rows.length > lines.length)
    throw new Tampered('copy', from, 'there are more entries in audit_log of ClickHouse')
}
