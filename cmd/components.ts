import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { SECTIONS } from '../config/sections.ts'
import { noPositionals } from './flags.ts'
import { registry } from './registry.ts'
import type { Io, Verb } from './verb.ts'
import { VERSION } from './version.ts'

const help = `Usage: weir components [--json]

Prints what is built in: every component's type, the other names it answers to, and what it does.

  --json    JSON instead of YAML
`

export const verb: Verb = { name: 'components', summary: 'what is built in', help, run: components }

async function components(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { json: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  noPositionals('components', positionals)
  const sections = SECTIONS.map(({ name }) => [
    name,
    registry[name].map(({ type, aliases, summary }) => ({ type, ...(aliases && { aliases }), summary })),
  ])
  const listing: unknown = { version: VERSION, ...Object.fromEntries(sections) }
  io.out(values.json ? JSON.stringify(listing, null, 2) : stringify(listing, { lineWidth: 0 }))
  return 0
}
