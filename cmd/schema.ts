import { parseArgs } from 'node:util'
import { configSchema } from '../config/schema.ts'
import { noPositionals } from './flags.ts'
import { registry } from './registry.ts'
import type { Io, Verb } from './verb.ts'

const help = `Usage: weir schema

Prints the JSON Schema of the config. With the YAML language server, write as a config's first line:
  # yaml-language-server: $schema=schema.json
`

export const verb: Verb = { name: 'schema', summary: 'JSON Schema of the config', help, run: schema }

async function schema(argv: readonly string[], io: Io): Promise<number> {
  // The output is JSON anyway; `--json` is taken so that scripts may say it everywhere.
  const { positionals } = parseArgs({
    args: [...argv],
    options: { json: { type: 'boolean' } },
    allowPositionals: true,
  })
  noPositionals('schema', positionals)
  io.out(JSON.stringify(configSchema(registry), null, 2))
  return 0
}
