import { parseArgs } from 'node:util'
import { apiClient, CLIENT_FLAGS, CLIENT_HELP } from './client.ts'
import { printRows, type Row } from './identity/print.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

export const verb: Verb = {
  name: 'pseudonym',
  summary: 'Which pseudonym a value has where the sanitizer writes `<EMAIL:9f3a…>`.',
  help: `Usage: weir pseudonym VALUE [--type TYPE] [--tenant T]

Finds a person again in data that was given pseudonyms (mode: hash). Without --type it answers for every type that the
value could have been found as.

  --type TYPE        email, phone, card, …, or the name of a rule of yours
  --tenant T         whose data; default: the token's tenant, else "default"
  --json             instead of a table
${CLIENT_HELP}

Examples:
  weir pseudonym ada@example.org --type email --tenant acme
`,
  run,
}

const FLAGS = {
  ...CLIENT_FLAGS,
  type: { type: 'string' },
  tenant: { type: 'string' },
  json: { type: 'boolean', default: false },
} as const

async function run(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({ args: [...argv], options: FLAGS, allowPositionals: true })
  const [value, ...more] = positionals
  if (value === undefined) throw new UsageError('pseudonym needs a value')
  if (more.length > 0) throw new UsageError(`"${more[0]}" is too much: quote a value with spaces`)
  const answer = (await apiClient(io, values.endpoint).call('POST', '/v1/pseudonym', {
    value,
    ...(values.type !== undefined && { type: values.type }),
    ...(values.tenant !== undefined && { tenant: values.tenant }),
  })) as { pseudonyms: Row[] }
  printRows(answer.pseudonyms, ['type', 'pseudonym'], { name: 'pseudonyms', json: values.json }, io)
  return 0
}
