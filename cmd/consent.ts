import { parseArgs } from 'node:util'
import { CONSENT_TYPES } from '../pipeline/consent/record.ts'
import { PORT_FLAGS, PORT_HELP, withPort, type Ask } from './identity/port.ts'
import { printOne, printRows, type Row } from './identity/print.ts'
import { expiry } from './identity/when.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'consent',
  summary: 'What the people behind the data have agreed to.',
  help: `Usage: weir consent grant TYPE --by WHO [--tenant T] [--run ID]… [--expires WHEN] [--note TEXT]
       weir consent ls [--tenant T] [--type TYPE] [--status active|revoked|expired]
       weir consent show ID [--tenant T]
       weir consent revoke ID --by WHO [--tenant T]    at once and for ever; what was kept by it alone is deleted

Types: ${CONSENT_TYPES.join(', ')}.
Records are evidence: they stay when a consent has ended. Needs the admin role.

  --tenant T         whose data; default: "default"
  --by WHO           who agreed, or took it back: a person, a contract, a ticket
  --run ID           this run only; repeatable. Without: all runs of the tenant, later ones too
  --expires WHEN     90d, 12h or an RFC 3339 time; default: never
  --note TEXT        for people
${PORT_HELP}

Examples:
  weir consent grant llm_response_caching --tenant acme --by "DPO, ticket 4711" --expires 90d
  weir consent ls --tenant acme --status active
  weir consent revoke k3v9x0q2m7ab --tenant acme --by ada@example.org
`,
  run,
}

const FLAGS = {
  ...PORT_FLAGS,
  tenant: { type: 'string', default: 'default' },
  by: { type: 'string' },
  run: { type: 'string', multiple: true },
  expires: { type: 'string' },
  note: { type: 'string' },
  type: { type: 'string' },
  status: { type: 'string' },
} as const

type Values = ReturnType<typeof parse>['values']

interface Order {
  readonly ask: Ask
  readonly values: Values
  readonly io: Io
  /** `/v1/tenants/<tenant>/consents` */
  readonly path: string
  /** The type to grant, or the id. */
  readonly what: string
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
}

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parse(argv)
  const [action = '', what, ...more] = positionals
  const act = ACTIONS[action]
  if (act === undefined) throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  if (more.length > 0 || (action === 'ls' && what !== undefined)) {
    throw new UsageError(`"${more[0] ?? what}" is too much for ${action}`)
  }
  if (what === undefined && action !== 'ls') {
    throw new UsageError(action === 'grant' ? 'grant needs a type' : `${action} needs the id of a consent`)
  }
  const path = `/v1/tenants/${encodeURIComponent(values.tenant)}/consents`
  return withPort('consent', values, io, (ask) => act({ ask, values, io, path, what: what ?? '' }))
}

const COLUMNS = ['id', 'type', 'runs', 'status', 'granted_by', 'granted', 'expires', 'revoked', 'note']

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<void>>> = {
  async grant({ ask, values, io, path, what }) {
    if (!(CONSENT_TYPES as readonly string[]).includes(what)) {
      throw new UsageError(`"${what}" is no type of consent; the types are ${CONSENT_TYPES.join(', ')}`)
    }
    const all = {
      type: what,
      granted_by: needBy(values),
      runs: values.run,
      note: values.note,
      expires: values.expires && expiry('--expires', values.expires),
    }
    const body = Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
    printConsent(await ask('POST', path, body), values, io)
  },
  async ls({ ask, values, io, path }) {
    const query = new URLSearchParams()
    if (values.type !== undefined) query.set('type', values.type)
    if (values.status !== undefined) query.set('status', values.status)
    const { consents } = await ask('GET', `${path}?${query.toString()}`)
    const rows = consents as Row[]
    printRows(values.json ? rows : rows.map(shown), COLUMNS, { name: 'consents', json: values.json }, io)
  },
  async show({ ask, values, io, path, what }) {
    printConsent(await ask('GET', `${path}/${encodeURIComponent(what)}`), values, io)
  },
  async revoke({ ask, values, io, path, what }) {
    const body = { revoked_by: needBy(values) }
    printConsent(await ask('POST', `${path}/${encodeURIComponent(what)}/revoke`, body), values, io)
  },
}

/** A consent that names no runs is for all of them. */
function shown(row: Row): Row {
  return { ...row, runs: row['runs'] ?? 'all' }
}

function printConsent(answer: Row, { json }: Values, io: Io): void {
  printOne(json ? answer : { consent: shown(answer['consent'] as Row) }, 'consent', json, io)
}

function needBy({ by }: Values): string {
  if (by === undefined) throw new UsageError('--by says who agreed, or took it back')
  return by
}
