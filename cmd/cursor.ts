import { parseArgs } from 'node:util'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from './client.ts'
import { printRows, type Row } from './identity/print.ts'
import { CONFIG_FLAGS, loadFor, type ConfigFlags } from './flags.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'cursor',
  summary: 'Where each exporter is in the WAL: ls, rm, adopt.',
  help: `Usage: weir cursor ls [--json]
       weir cursor rm CURSOR     forgets the position of an exporter that no daemon has in its config any more
       weir cursor adopt --config FILE --from earliest|latest
                                 makes the embedded WAL of a config that of the config's state store, where the one that it was
                                 read with is lost: no daemon runs meanwhile

A cursor is <pipeline>/<exporter>. One that is in no config pins nothing of the WAL and is forgotten by itself after 7
days; an exporter that comes back under the same name within them goes on where it was.

With the state store the positions are lost: \`adopt\` makes exporters begin at the oldest message of the WAL (what they had
delivered of it is delivered again), or behind the latest (what was not delivered yet never is).

  --json             data instead of a table
${CLIENT_HELP}

Examples:
  weir cursor ls
  weir cursor rm traces/store/otlp/old
  weir cursor adopt --config weir.yaml --from earliest
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  ...CONFIG_FLAGS,
  from: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const
const COLUMNS = [
  'cursor',
  'connector',
  'position',
  'lag_spans',
  'lag_seconds',
  'attempts',
  'in_config',
  'moved',
]

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [action, cursor, ...more] = positionals
  if (action === 'adopt' && cursor === undefined) return adopt(values, io)
  if ((values.config ?? values.set ?? values.from) !== undefined) {
    throw new UsageError('--config, --set and --from go with adopt')
  }
  const client = apiClient(io, values.endpoint)
  if (action === 'ls' && cursor === undefined) {
    const answer = (await client.get('/v1/cursors')) as { cursors: Row[] }
    if (values.json) io.out(`${safeJson(JSON.stringify(answer))}\n`)
    else printRows(answer.cursors, COLUMNS, { name: 'cursors', json: false }, io)
    return 0
  }
  if (action !== 'rm' || cursor === undefined || more.length > 0)
    throw new UsageError('say ls, rm CURSOR, or adopt')
  const answer = await client.call('DELETE', `/v1/cursors/${encodeURIComponent(cursor)}`)
  io.out(values.json ? `${safeJson(JSON.stringify(answer))}\n` : `${cursor} is forgotten\n`)
  return 0
}

async function adopt(
  { from, json, ...flags }: ConfigFlags & { readonly from?: string | undefined; readonly json: boolean },
  io: Io,
): Promise<number> {
  if (from !== 'earliest' && from !== 'latest') throw new UsageError('adopt needs --from earliest|latest')
  const config = loadFor('cursor adopt', flags, io)
  if (config === undefined) return 1
  const { adoptLogs } = await import('./cursor-adopt.ts')
  const adopted = await adoptLogs(config, from)
  const rows = adopted.map((cursor) => ({ ...cursor }))
  printRows(rows, ['cursor', 'connector', 'position', 'last'], { name: 'cursors', json }, io)
  return 0
}
