import { createHash, X509Certificate } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { messageOf } from '../pipeline/fault.ts'
import { PORT_FLAGS, PORT_HELP, withPort, type Ask } from './identity/port.ts'
import { expiry, seconds } from './identity/when.ts'
import { printOne, printRows, type Row } from './identity/print.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'key',
  summary: 'What proves who sends: API keys, HMAC secrets, certificates.',
  help: `Usage: weir key create [--tenant T] [--role ROLE]… [flags]
       weir key ls [--tenant T]
       weir key show ID
       weir key rotate ID [--overlap 24h]   a successor; the old one goes on for the overlap
       weir key revoke ID                   at once and for ever, in every daemon within 5 s
       weir key rm ID                       forgets one that is revoked or expired
       weir key reseal                      after a change of the master key

A secret is printed once, by create and rotate, and cannot be shown again.

  --kind KIND        api (default), hmac or certificate
  --tenant T         whose data it sends; only admins over all tenants do without
  --project P        its data is this project's; role ingest only
  --agent A          it is this agent's
  --role ROLE        ingest (default), read or admin; repeatable
  --env ENV          stands in the key, for people: live (default), test, …
  --name TEXT        for people
  --expires WHEN     90d, 12h or an RFC 3339 time; default: never
  --san SAN          of a certificate: DNS:agent.example, URI:spiffe://…, email:…
  --certificate FILE of a certificate: this very public key (PEM; its SHA-256 is sent)
${PORT_HELP}

Examples:
  weir key create --role admin                  the first one: from then on the API asks for it (WEIR_TOKEN)
  weir key create --tenant acme --project checkout
  weir key create --tenant acme --kind hmac
  weir key create --tenant acme --kind certificate --san URI:spiffe://acme/agent
  weir key rotate k3v9x0q2m7ab --overlap 2h
`,
  run,
}

const FLAGS = {
  ...PORT_FLAGS,
  kind: { type: 'string' },
  tenant: { type: 'string' },
  project: { type: 'string' },
  agent: { type: 'string' },
  role: { type: 'string', multiple: true },
  env: { type: 'string' },
  name: { type: 'string' },
  expires: { type: 'string' },
  san: { type: 'string' },
  certificate: { type: 'string' },
  overlap: { type: 'string' },
} as const

type Values = ReturnType<typeof parse>['values']

interface Order {
  readonly ask: Ask
  readonly values: Values
  readonly io: Io
  readonly id: string
}

function parse(argv: readonly string[]) {
  return parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
}

const NEEDS_ID = ['show', 'rotate', 'revoke', 'rm']

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parse(argv)
  const [action = '', id, ...more] = positionals
  const act = ACTIONS[action]
  if (act === undefined) throw new UsageError(`say what to do: ${Object.keys(ACTIONS).join(', ')}`)
  if (more.length > 0 || (id !== undefined && !NEEDS_ID.includes(action))) {
    throw new UsageError(`"${more[0] ?? id}" is too much for ${action}`)
  }
  if (id === undefined && NEEDS_ID.includes(action)) throw new UsageError(`${action} needs the id of a key`)
  return withPort('key', values, io, (ask) => act({ ask, values, io, id: id ?? '' }))
}

const COLUMNS = [
  'id',
  'kind',
  'tenant',
  'project',
  'agent',
  'roles',
  'status',
  'expires',
  'last_used',
  'name',
]

const ACTIONS: Readonly<Record<string, (order: Order) => Promise<void>>> = {
  async create({ ask, values, io }) {
    announce(await ask('POST', '/v1/keys', wanted(values)), values.json, io)
  },
  async ls({ ask, values, io }) {
    const query = values.tenant === undefined ? '' : `?tenant=${encodeURIComponent(values.tenant)}`
    const { keys } = await ask('GET', `/v1/keys${query}`)
    printRows(keys as Row[], COLUMNS, { name: 'keys', json: values.json }, io)
  },
  async show({ ask, values, io, id }) {
    printOne(await ask('GET', pathOf(id)), 'key', values.json, io)
  },
  async rotate({ ask, values, io, id }) {
    const body = values.overlap === undefined ? {} : { overlap_seconds: seconds('--overlap', values.overlap) }
    announce(await ask('POST', `${pathOf(id)}/rotate`, body), values.json, io)
  },
  async revoke({ ask, values, io, id }) {
    printOne(await ask('POST', `${pathOf(id)}/revoke`, {}), 'key', values.json, io)
  },
  async rm({ ask, values, io, id }) {
    printOne(await ask('DELETE', pathOf(id)), 'key', values.json, io)
  },
  async reseal({ ask, values, io }) {
    const answer = await ask('POST', '/v1/secrets/reseal', {})
    io.out(values.json ? `${JSON.stringify(answer)}\n` : `${String(answer['resealed'])} secrets resealed\n`)
  },
}

function pathOf(id: string): string {
  return `/v1/keys/${encodeURIComponent(id)}`
}

/** The secret on a line of its own: `| tail -1` gives it to a script that does not read JSON. */
function announce(answer: Row, json: boolean, io: Io): void {
  printOne(answer, 'key', json, io)
  if (json || typeof answer['secret'] !== 'string') return
  io.err('The secret is shown this once only:\n')
  io.out(`${answer['secret']}\n`)
}

function wanted(values: Values): Row {
  const { kind, tenant, project, agent, role, env, name, expires, san, certificate } = values
  const all = {
    kind: kind ?? (san === undefined && certificate === undefined ? undefined : 'certificate'),
    tenant,
    project,
    agent,
    roles: role,
    env,
    name,
    expires: expires && expiry('--expires', expires),
    san,
    spki_sha256: certificate && spkiOf(certificate),
  }
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined))
}

function spkiOf(file: string): string {
  try {
    const { publicKey } = new X509Certificate(readFileSync(file))
    return createHash('sha256')
      .update(publicKey.export({ type: 'spki', format: 'der' }))
      .digest('hex')
  } catch (error) {
    throw new UsageError(`--certificate ${file}: ${messageOf(error)}`)
  }
}
