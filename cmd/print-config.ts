import { parseArgs } from 'node:util'
import { stringify } from 'yaml'
import { effectiveConfig } from '../config/effective.ts'
import { CONFIG_FLAGS, loadFor, noPositionals } from './flags.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const help = `Usage: weir print-config --config FILE [--config FILE …] [--set key.path=value …]

Prints the config that would run: merged, references resolved, with defaults.

  --config FILE      a YAML file; several are merged, later ones win
  --set KEY=VALUE    sets one key
  --mode MODE        redacted (default) or unredacted: secrets in clear
  --format FORMAT    yaml (default) or json
  --json             the same as --format json
`

export const verb: Verb = { name: 'print-config', summary: 'the effective config', help, run: printConfig }

async function printConfig(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      ...CONFIG_FLAGS,
      mode: { type: 'string', default: 'redacted' },
      format: { type: 'string', default: 'yaml' },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  noPositionals('print-config', positionals)
  const { mode, format } = values
  if (mode !== 'redacted' && mode !== 'unredacted') throw new UsageError('--mode is redacted or unredacted')
  if (format !== 'yaml' && format !== 'json') throw new UsageError('--format is yaml or json')
  const config = loadFor('print-config', values, io)
  if (config === undefined) return 1
  const shown = effectiveConfig(config.raw, registry, mode)
  io.out(
    values.json || format === 'json' ? JSON.stringify(shown, null, 2) : stringify(shown, { lineWidth: 0 }),
  )
  return 0
}
