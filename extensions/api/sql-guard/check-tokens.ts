import { isAllowedFunction, isAllowedTableFunction } from './functions.ts'
import { refuse } from './refuse.ts'
import { tokenize, type Token } from './tokens.ts'

/** Clauses that ClickHouse takes at the end of any SELECT, and that would act outside of it. */
const OUTSIDE: ReadonlySet<string> = new Set(['INTO', 'OUTFILE', 'FORMAT', 'SETTINGS'])

/** Words before `(` that are not function names; the formatter prints keywords in capitals. */
const KEYWORDS: ReadonlySet<string> = new Set(
  `ALL AND ANTI ANY ARRAY AS ASOF BETWEEN BY CASE COLUMNS CUBE DISTINCT DIV ELSE END EXCEPT FILL FILTER FROM GLOBAL
   HAVING ILIKE IN INTERPOLATE INTERSECT INTERVAL IS JOIN LIKE LIMIT MOD NOT OFFSET ON OR OVER PREWHERE QUALIFY
   REGEXP REPLACE ROLLUP SELECT SEMI SETS STEP THEN TO UNION USING WHEN WHERE WITH BY`.split(/\s+/),
)

/** Databases that are never ours. */
const FOREIGN = /^(?:system|information_schema)$/i

const MAX_DEPTH = 100

/**
 * The first layer: the text itself, as the formatter printed it. It sees what EXPLAIN AST leaves out (the function
 * of an APPLY, a query's FORMAT and INTO OUTFILE) and makes sure that no name can forge a line of its output.
 */
export function checkTokens(sql: string, params: Readonly<Record<string, unknown>>): void {
  const tokens = tokenize(sql)
  const [first] = tokens
  if (first === undefined || !['SELECT', 'WITH', '('].includes(first.text)) {
    throw refuse('it is not a SELECT')
  }
  let depth = 0
  tokens.forEach((token, index) => {
    checkToken(token, tokens[index - 1], tokens[index + 1])
    if (token.kind === 'parameter') checkParameter(token.text, params)
    if (token.text === '(') depth++
    if (token.text === ')') depth--
    if (depth > MAX_DEPTH) throw refuse(`it is nested deeper than ${MAX_DEPTH} brackets`)
  })
}

function checkToken(token: Token, before: Token | undefined, after: Token | undefined): void {
  if (token.kind === 'quoted') checkName(token.text)
  if (token.kind !== 'word' && token.kind !== 'quoted') return
  const isName = before?.text === 'AS' || before?.text === '.'
  const isCall = after?.text === '('
  if (token.kind === 'word' && !isName && !isCall && OUTSIDE.has(token.text.toUpperCase())) {
    throw refuse(
      `${token.text.toUpperCase()} is not allowed (a column of that name can be read as t.${token.text})`,
    )
  }
  if (token.kind === 'word' && token.text === 'APPLY') throw refuse('APPLY is not allowed')
  if (after?.text === '.' && before?.text !== '.' && FOREIGN.test(nameOf(token))) {
    throw refuse(`${nameOf(token)}.* is not in weir's database`)
  }
  if (isCall && before?.text !== '.') checkCall(token)
}

function nameOf(token: Token): string {
  return token.kind === 'quoted' ? token.text.slice(1, -1) : token.text
}

function checkCall(token: Token): void {
  if (token.kind === 'word' && KEYWORDS.has(token.text)) return
  const name = nameOf(token)
  if (isAllowedFunction(name) || isAllowedTableFunction(name)) return
  throw refuse(`the function ${name} is not allowed`)
}

function checkName(quoted: string): void {
  if (/^`(?:system|information_schema)\./i.test(quoted)) throw refuse(`${quoted} is not in weir's database`)
  // oxlint-disable-next-line no-control-regex -- a name with a line break could forge a node of the parsed form
  if (/[\\\u0000-\u001f\u007f-\u009f\u2028\u2029]/.test(quoted)) {
    throw refuse('a name may not contain backslashes or control characters')
  }
}

function checkParameter(text: string, params: Readonly<Record<string, unknown>>): void {
  const [, name = '', type = ''] = /^\{(\w+):\s*(\w+)/.exec(text) ?? []
  if (type.toLowerCase() === 'identifier') throw refuse('a parameter may be a value, not a name')
  if (!Object.hasOwn(params, name)) throw refuse(`the parameter ${name} has no value`)
}
