import { messageOf, reject } from '../../pipeline/fault.ts'
import { codeOf } from './faults.ts'
import type { Connection, Params } from './connection.ts'

/**
 * The second line of defence around a user's SELECT (the first is the API's own guard). ClickHouse itself parses the
 * text: `formatQuerySingleLine` takes it as a bound value, refuses a second statement, and gives back a canonical
 * form without comments, in which a quote is a quote and keywords are in capitals; `EXPLAIN AST` of that form names the tables and functions.
 * Why each rule, all measured on 26.7 under `readonly = 1`: a subquery's SETTINGS lifts the tenant's filter; INTO OUTFILE
 * writes files; `file('/etc/passwd')` as a scalar reads them; `merge(…)` and `mergeTree…(…)` read past the filter; KILL QUERY runs.
 */
export async function checkedSelect(
  connection: Connection,
  sql: string,
  params: Params,
  database: string,
  signal: AbortSignal,
): Promise<string> {
  const canonical = await canonicalForm(connection, sql, signal)
  const bare = canonical.replace(/'(?:[^'\\]|\\.)*'|`(?:[^`\\]|\\.)*`|"(?:[^"\\]|\\.)*"/gs, "''")
  if (!/^\(*(?:SELECT|WITH)\b/.test(bare)) throw refused('only SELECT may be run here')
  const clause = /\b(?:SETTINGS|INTO OUTFILE|FORMAT|PARALLEL WITH)\b/.exec(bare)?.[0]
  if (clause !== undefined) throw refused(`${clause} may not stand in a query`)
  const tree = await connection
    .rows(`SELECT explain FROM (EXPLAIN AST ${canonical})`, params, signal)
    .catch(failed)
  checkTree(
    tree.data.map(([line]) => String(line)),
    await tableFunctions(connection, signal),
    database,
  )
  return canonical
}

async function canonicalForm(connection: Connection, sql: string, signal: AbortSignal): Promise<string> {
  const { data } = await connection
    .rows('SELECT formatQuerySingleLine({text:String})', { text: sql }, signal)
    .catch(failed)
  return data[0]?.[0] as string
}

async function tableFunctions(connection: Connection, signal: AbortSignal): Promise<ReadonlySet<string>> {
  const { data } = await connection
    .rows('SELECT lower(name) FROM system.table_functions', {}, signal)
    .catch(failed)
  return new Set(data.map(([name]) => String(name)))
}

/** Make rows out of nothing, or read what they are given under the same settings. */
const HARMLESS_SOURCES = new Set([
  'numbers',
  'numbers_mt',
  'zeros',
  'zeros_mt',
  'generateseries',
  'generate_series',
  'values',
  'view',
  'format',
  'null',
])

/** Read files, dictionaries, other tables, other servers or the request; sleep; call models. */
const REFUSED_FUNCTIONS =
  /^(?:file|filesystem.*|dict(?:get|has|isin).*|joinget.*|hascolumnintable|getclienthttpheader|getmacro|getserversetting|getserverport|getmergetreesetting|sleep.*|ai[a-z]+|catboostevaluate|evalmlmethod|modelevaluate|zookeeper.*|mergetree.*|__.*)$/

function checkTree(lines: readonly string[], tableFunctions: ReadonlySet<string>, database: string): void {
  for (const [index, line] of lines.entries()) {
    const [, kind, name = ''] =
      /^\s*(Function|TableIdentifier|Set)\b ?(.*?)(?: \(alias .*\))?(?: \(children \d+\))?$/.exec(line) ?? []
    if (kind === 'Set') throw refused('SETTINGS may not stand in a query')
    if (kind === 'TableIdentifier') checkTable(name, database)
    if (kind === 'Function') {
      const lower = name.toLowerCase()
      const source = tableFunctions.has(lower) && !HARMLESS_SOURCES.has(lower)
      if (source || REFUSED_FUNCTIONS.test(lower)) throw refused(`the function ${name} may not be used here`)
      if (/^(?:global)?(?:not)?(?:null)?in(?:ignoreset)?$/.test(lower)) checkSet(lines, index)
    }
  }
}

/** An unqualified name is of our database, the only one that is in use. `system.one` is what a SELECT without FROM reads. */
function checkTable(name: string, database: string): void {
  const dot = name.indexOf('.')
  if (dot < 0 || name.startsWith(`${database}.`) || name === 'system.one') return
  throw refused(`only tables of ${database} may be read, not ${name}`)
}

/** `x IN name`: the name would be read as a table. `x IN (SELECT …)` is checked as any SELECT. */
function checkSet(lines: readonly string[], index: number): void {
  const depth = (line: string) => line.length - line.trimStart().length
  const own = depth(lines[index] ?? '')
  const operands = []
  for (const line of lines.slice(index + 1)) {
    if (depth(line) <= own) break
    if (depth(line) === own + 2) operands.push(line.trim())
  }
  if (operands[1]?.startsWith('Identifier') || operands[1]?.startsWith('TableIdentifier')) {
    throw refused('write `IN (SELECT …)`: a bare name after IN would be read as a table')
  }
}

function refused(why: string) {
  return reject('QUERY_REFUSED', `query: ${why}`)
}

/** What ClickHouse says of the text is final; that it did not answer is not. */
function failed(error: unknown): never {
  if (codeOf(error) === '') throw error
  throw reject('QUERY_FAILED', `query: ${messageOf(error)}`, { cause: error })
}
