import { parseArgs } from 'node:util'
import { safeJson, safeText } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient, type QueryAnswer } from './client.ts'
import { cellOf, counted, isNumeric, table } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'query',
  summary: 'Run one SELECT over what is stored, through the daemon.',
  help: `Usage: weir query "SELECT …" [--param name=value]…
       weir query --named NAME [--param name=value]…
       weir query --list

One SELECT in ClickHouse SQL over weir's tables and views (otel_traces, llm_calls, tool_calls, agent_runs, …).
Values are bound, never pasted: write {name:Type} and give --param name=value.

  --named NAME       one of the analysts' questions, by name or number
  --list             the named questions
  --param NAME=VALUE a value for {NAME:Type}; repeatable
  --json, --csv      instead of a table
  --max-rows N       most rows (the daemon has a limit of its own)
${CLIENT_HELP}

Examples:
  weir query "SELECT PriceModel, count(), sum(CostUsd) FROM llm_calls GROUP BY 1 ORDER BY 3 DESC"
  weir query "SELECT * FROM agent_runs WHERE AgentName = {a:String}" --param a=planner --json
  weir query --named 1
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  named: { type: 'string' },
  list: { type: 'boolean', default: false },
  param: { type: 'string', multiple: true, default: [] as string[] },
  json: { type: 'boolean', default: false },
  csv: { type: 'boolean', default: false },
  'max-rows': { type: 'string' },
} as const

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const client = apiClient(io, values.endpoint)
  if (values.list) return list(client, io, values.json)
  const [sql, ...more] = positionals
  if (more.length > 0) throw new UsageError('one statement only: put the SQL in quotes')
  if ((sql === undefined) === (values.named === undefined)) {
    throw new UsageError('give either a SELECT or --named NAME')
  }
  const answer = await client.query({
    ...(sql === undefined ? {} : { sql }),
    ...(values.named === undefined ? {} : { named: values.named }),
    params: paramsOf(values.param),
    limits: limitsOf(values['max-rows']),
  })
  print(answer, values, io)
  return 0
}

function paramsOf(pairs: readonly string[]): Record<string, string> {
  return Object.fromEntries(
    pairs.map((pair) => {
      const [, name = '', value = ''] = /^(\w+)=(.*)$/s.exec(pair) ?? []
      if (name === '') throw new UsageError(`--param ${pair} is not name=value`)
      return [name, value]
    }),
  )
}

function limitsOf(text: string | undefined): { max_rows?: number } {
  if (text === undefined) return {}
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new UsageError(`--max-rows ${text} is not a number of rows`)
  return { max_rows: Number(text) }
}

function print(answer: QueryAnswer, flags: { json: boolean; csv: boolean }, io: Io): void {
  if (flags.json) io.out(`${jsonOf(answer)}\n`)
  else if (flags.csv) io.out(csvOf(answer, io.tty))
  else io.out(tableOf(answer))
  if (answer.truncated) io.err(`the answer was cut after ${counted(answer.rows.length, 'row')}\n`)
}

function tableOf({ columns, rows }: QueryAnswer): string {
  const heads = columns.map(({ name, type }) => ({ title: name, right: isNumeric(type) }))
  const words = counted(rows.length, 'row')
  return `${table(
    heads,
    rows.map((row) => row.map(cellOf)),
  )}(${words})\n`
}

/** Rows as objects; two columns of one name would hide each other, so then rows stay arrays. */
function jsonOf({ columns, rows, truncated, elapsed_ms }: QueryAnswer): string {
  const names = columns.map(({ name }) => name)
  const isUnique = new Set(names).size === names.length
  const shaped = isUnique
    ? rows.map((row) => Object.fromEntries(names.map((name, i) => [name, row[i]])))
    : rows
  return safeJson(JSON.stringify({ columns, rows: shaped, truncated, elapsed_ms }))
}

/** RFC 4180; on a terminal without control characters. */
function csvOf({ columns, rows }: QueryAnswer, tty: boolean): string {
  const field = (value: unknown): string => {
    const text = value === null ? '' : cellOf(value)
    const shown = tty ? safeText(text) : text
    return /[",\r\n]/.test(shown) ? `"${shown.replaceAll('"', '""')}"` : shown
  }
  const lines = [columns.map(({ name }) => name), ...rows]
  return lines.map((line) => `${line.map(field).join(',')}\r\n`).join('')
}

async function list(client: ApiClient, io: Io, json: boolean): Promise<number> {
  const { queries } = (await client.get('/v1/named-queries')) as {
    queries: readonly { name: string; title: string; params: Record<string, unknown> }[]
  }
  if (json) io.out(`${safeJson(JSON.stringify({ queries }))}\n`)
  else {
    const columns = [{ title: 'name' }, { title: 'question' }, { title: 'parameters' }]
    io.out(
      table(
        columns,
        queries.map(({ name, title, params }) => [
          name,
          title,
          Object.entries(params)
            .map(([key, value]) => `${key}=${String(value)}`)
            .join(' '),
        ]),
      ),
    )
  }
  return 0
}
