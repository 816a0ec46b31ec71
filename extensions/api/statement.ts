import { createHash } from 'node:crypto'
import type { AuditDetails } from '../../pipeline/audit/audit.ts'

const MAX_TEXT = 1500
/** Ids of traces, spans and runs: they say what was looked at, and of nobody who he is. */
const ID = /^[0-9a-fA-F-]{16,36}$/
const MAX_IDS = 16

export interface Asked {
  /** As ClickHouse's own parser printed it: without comments. */
  readonly sql: string
  readonly params: Readonly<Record<string, unknown>>
  readonly rows: number
}

/**
 * What was asked, without what was asked for: literals may be a person's name or address, so each is `?`, and of the
 * parameters only their names and ids remain. The hash tells whether a known statement was it.
 */
export function statementDetails({ sql, params, rows }: Asked): AuditDetails {
  const entries = Object.entries(params)
  const ids = entries.filter(([, value]) => typeof value === 'string' && ID.test(value))
  return {
    statement: withoutLiterals(sql).slice(0, MAX_TEXT),
    sha256: createHash('sha256').update(sql).digest('hex'),
    rows,
    ...(entries.length > 0 && { params: entries.slice(0, 64).map(([name]) => name.slice(0, 64)) }),
    ...(ids.length > 0 && { ids: ids.slice(0, MAX_IDS).map(([, value]) => String(value)) }),
  }
}

function withoutLiterals(sql: string): string {
  return sql
    .replace(/'(?:[^'\\]|\\.|'')*'?/gs, '?')
    .replace(/\b\d[\w.]*/g, (number) => (number.length > 4 ? '?' : number))
}
