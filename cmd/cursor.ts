import { parseArgs } from 'node:util'
import { safeJson } from '../pipeline/telemetry/safe-text.ts'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from './client.ts'
import { printRows, type Row } from './identity/print.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'cursor',
  summary: 'Where each exporter is in the WAL: ls, rm.',
  help: `Usage: weir cursor ls [--json]
       weir cursor rm CURSOR     forgets the position of an exporter that no daemon has in its config any more

A cursor is <pipeline>/<exporter>. One that is in no config pins nothing of the WAL and is forgotten by itself after 7
days; an exporter that comes back under the same name within them goes on where it was.

  --json             data instead of a table
${CLIENT_HELP}

Examples:
  weir cursor ls
  weir cursor rm traces/store/otlp/old
`,
  run,
}

const FLAGS = { ...CLIENT_FLAGS, json: { type: 'boolean', default: false } } as const
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
  const client = apiClient(io, values.endpoint)
  if (action === 'ls' && cursor === undefined) {
    const answer = (await client.get('/v1/cursors')) as { cursors: Row[] }
    if (values.json) io.out(`${safeJson(JSON.stringify(answer))}\n`)
    else printRows(answer.cursors, COLUMNS, { name: 'cursors', json: false }, io)
    return 0
  }
  if (action !== 'rm' || cursor === undefined || more.length > 0) throw new UsageError('say ls, or rm CURSOR')
  const answer = await client.call('DELETE', `/v1/cursors/${encodeURIComponent(cursor)}`)
  io.out(values.json ? `${safeJson(JSON.stringify(answer))}\n` : `${cursor} is forgotten\n`)
  return 0
}
