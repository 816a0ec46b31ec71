import { refuse } from './refuse.ts'

export interface Token {
  readonly kind: 'word' | 'quoted' | 'string' | 'number' | 'parameter' | 'symbol'
  readonly text: string
}

/**
 * One token of SQL as ClickHouse's formatter prints it: no comments, no heredocs, no double quotes, strings and
 * quoted names with backslash escapes. Whatever does not match is refused, so that we never read less than
 * ClickHouse does.
 */
const TOKEN =
  /\s*(?:(?<word>[A-Za-z_][A-Za-z0-9_]*)|(?<quoted>`(?:[^`\\]|\\.)*`)|(?<string>'(?:[^'\\]|\\.)*')|(?<number>\d[\w.]*(?:(?<=[eE])[+-]\d+)?)|(?<parameter>\{[A-Za-z_]\w*:[A-Za-z]\w*[^{}]*\})|(?<symbol><=>|->|::|<=|>=|!=|<>|==|\|\||[()[\],.<>=+\-*/%:]))/sy

export function tokenize(sql: string): readonly Token[] {
  const tokens: Token[] = []
  const text = sql.trim()
  TOKEN.lastIndex = 0
  while (TOKEN.lastIndex < text.length) {
    const at = TOKEN.lastIndex
    const match = TOKEN.exec(text)
    if (match === null) throw refuse(`what stands at "${excerpt(text, at)}" is not allowed in a query`)
    for (const [kind, value] of Object.entries(match.groups ?? {})) {
      if (value !== undefined) tokens.push({ kind: kind as Token['kind'], text: value })
    }
  }
  return tokens
}

function excerpt(text: string, at: number): string {
  return text.slice(at, at + 24)
}
