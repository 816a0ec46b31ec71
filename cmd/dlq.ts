import { parseArgs } from 'node:util'
import { printOne, printRows, type Row } from './identity/print.ts'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP, type ApiClient } from './client.ts'
import { past } from './identity/when.ts'
import { counted } from './table.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'dlq',
  summary: 'Dead letters, what a destination will never take: ls, show, retry, purge.',
  help: `Usage: weir dlq ls [filters] [--limit 100] [--json]
       weir dlq show ID [--json]
       weir dlq retry (ID… | filters | --all)   sends them again to the exporter that refused them, each once
       weir dlq purge (ID… | filters | --all)   deletes them

  --exporter ID        who refused: an exporter's id, or processors
  --tenant T           of this tenant; an admin of one tenant has that one's only
  --reason TEXT        part of the reason, whatever its case
  --since T --until T  written first at or after, before: 30m, 24h, 7d ago, or an instant (2026-08-01T12:00:00Z)
  --json               data instead of a table
${CLIENT_HELP}

Examples:
  weir dlq ls --exporter clickhouse --since 24h
  weir dlq retry --exporter otlp --reason 'too large'
  weir dlq purge --until 30d
`,
  run,
}

const FILTERS = {
  exporter: { type: 'string' },
  tenant: { type: 'string' },
  reason: { type: 'string' },
  since: { type: 'string' },
  until: { type: 'string' },
} as const
const FLAGS = {
  ...CLIENT_FLAGS,
  ...FILTERS,
  all: { type: 'boolean', default: false },
  limit: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const

interface Values {
  readonly exporter?: string | undefined
  readonly tenant?: string | undefined
  readonly reason?: string | undefined
  readonly since?: string | undefined
  readonly until?: string | undefined
  readonly limit?: string | undefined
  readonly all: boolean
  readonly json: boolean
}

interface Order {
  readonly client: ApiClient
  readonly values: Values
  readonly ids: readonly string[]
  readonly io: Io
}

/** The answer of a retry or a purge. */
interface Moved {
  letters: number
  spans: number
  left: number
  failed: { readonly id: string; readonly reason: string }[]
}

const COLUMNS = ['id', 'component', 'tenant', 'spans', 'bytes', 'attempts', 'last', 'reason']

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [action = '', ...ids] = positionals
  const act = ACTIONS[action]
  if (act === undefined) throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  return act({ client: apiClient(io, values.endpoint), values, ids, io })
}

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<number>>> = {
  async ls({ client, values, ids, io }) {
    if (ids.length > 0) throw new UsageError(`ls takes filters only; use show ${ids[0]}`)
    const wanted = { ...filterOf(values), limit: values.limit }
    const query = new URLSearchParams(
      Object.entries(wanted).filter((pair): pair is [string, string] => pair[1] !== undefined),
    )
    const answer = (await client.get(`/v1/dead-letters?${query.toString()}`)) as {
      dead_letters: Row[]
      letters: number
      spans: number
    }
    if (values.json) {
      io.out(`${safeJson(JSON.stringify(answer))}\n`)
      return 0
    }
    printRows(answer.dead_letters, COLUMNS, { name: 'dead_letters', json: false }, io)
    if (answer.letters === 0) return 0
    io.out(
      `${counted(answer.letters, 'letter')} of ${counted(answer.spans, 'span')}, ${answer.dead_letters.length} shown\n`,
    )
    return 0
  },
  async show({ client, values, ids, io }) {
    const [id, ...more] = ids
    if (id === undefined || more.length > 0) throw new UsageError('show needs one id')
    const answer = (await client.get(`/v1/dead-letters/${encodeURIComponent(id)}`)) as Row
    printOne(answer, 'dead_letter', values.json, io)
    if (!values.json) io.out(`${safeJson(JSON.stringify(answer['content'], null, 2))}\n`)
    return 0
  },
  retry: (order) => move(order, 'retry', 'sent again'),
  purge: (order) => move(order, 'purge', 'deleted'),
}

/** In portions, so that each request ends in time; what comes to be meanwhile is not meant. */
async function move({ client, values, ids, io }: Order, action: string, done: string): Promise<number> {
  const filter = filterOf(values)
  if (values.limit !== undefined) throw new UsageError(`${action} has no --limit`)
  const which = { ...filter, ...(ids.length > 0 && { ids }) }
  if (!values.all && Object.values(which).every((value) => value === undefined)) {
    throw new UsageError(`say which: ids, a filter such as --exporter, or --all`)
  }
  const until = filter.until ?? new Date().toISOString()
  const total: Moved = { letters: 0, spans: 0, left: 0, failed: [] }
  for (;;) {
    const part = (await client.post(`/v1/dead-letters/${action}`, { ...which, until, all: true })) as Moved
    total.letters += part.letters
    total.spans += part.spans
    total.failed = part.failed
    total.left = part.left
    if (part.left === 0 || part.letters === 0) break
  }
  if (values.json) io.out(`${safeJson(JSON.stringify(total))}\n`)
  else report(total, done, io)
  return total.failed.length > 0 || total.left > 0 ? 1 : 0
}

function report({ letters, spans, failed, left }: Moved, done: string, io: Io): void {
  io.out(`${counted(letters, 'letter')} of ${counted(spans, 'span')} ${done}\n`)
  if (failed.length === 0) return
  printRows(failed, ['id', 'reason'], { name: 'failed', json: false }, io)
  io.err(`${failed.length + left} could not be\n`)
}

function filterOf({ exporter, tenant, reason, since, until }: Values) {
  return {
    component: exporter,
    tenant,
    reason,
    since: past('--since', since),
    until: past('--until', until),
  }
}
