import { faultOf, messageOf } from '../../../pipeline/fault.ts'
import { checkAst } from './check-ast.ts'
import { checkTokens } from './check-tokens.ts'
import { refuse } from './refuse.ts'

export type QueryParams = Readonly<Record<string, string | number | boolean | readonly string[]>>

/** Runs a statement of our own on ClickHouse; all rows, or a Fault. */
export type Ask = (sql: string, params: QueryParams) => Promise<readonly (readonly unknown[])[]>

/** Well below the limit of ClickHouse's parser (256 KiB), and above what any analyst writes. */
const MAX_SQL_BYTES = 64 * 1024
const SQL_PARAM = 'weir_sql'

/**
 * User SQL is one SELECT over weir's database, checked on its parsed form (design law 6: `readonly=1` alone lets chdb
 * write files by INTO OUTFILE). Both parsers are ClickHouse's own:
 *
 * 1. `formatQuerySingleLine` gets the text as a bound value, so that nothing of it is executed. It refuses a second
 *    statement and prints the query anew: without comments, heredocs and the many ways to quote.
 * 2. The printed text is read token by token (`check-tokens.ts`), then
 * 3. parsed by `EXPLAIN AST`, which executes nothing either, and checked node by node (`check-ast.ts`). It is asked
 *    from a subquery because clients append a FORMAT, which EXPLAIN would take for itself; so asked, ClickHouse prints
 *    what its analyzer made of the query, without window frames and with `system.one` where there is no FROM.
 *
 * What is returned, and run, is the printed text, never the one that came in.
 */
export async function guardSql(sql: string, params: QueryParams, ask: Ask): Promise<string> {
  if (Buffer.byteLength(sql) > MAX_SQL_BYTES) throw refuse(`it is longer than ${MAX_SQL_BYTES} bytes`)
  if (sql.includes('\0')) throw refuse('it contains a zero byte')
  const format = `SELECT formatQuerySingleLine({${SQL_PARAM}:String}), currentDatabase()`
  const [first = []] = await parsed(() => ask(format, { [SQL_PARAM]: sql }))
  const [printed = '', database = ''] = first.map(String)
  checkTokens(printed, params)
  const lines = await parsed(() => ask(`SELECT explain FROM (EXPLAIN AST ${printed})`, params))
  checkAst(
    lines.map(([line]) => String(line)),
    database,
  )
  return printed
}

async function parsed<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (faultOf(error)?.code === 'QUERY_FAILED') throw refuse(syntaxError(messageOf(error)))
    throw error
  }
}

/** ClickHouse's words without our own statement around them. */
function syntaxError(message: string): string {
  return message
    .replace(/:? In scope SELECT formatQuerySingleLine.*$/s, '')
    .replace(/\s*\(version [^)]*\)/, '')
}
