import { parseArgs } from 'node:util'
import { formatErrors, loadConfig } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import { CONFIG_FLAGS, noPositionals } from './flags.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

const help = `Usage: weir validate --config FILE [--config FILE …] [--set key.path=value …] [--connect]

Checks a config without running it and prints all errors at once, each as file:line:col path: message.

  --config FILE      a YAML file; several are merged, later ones win
  --set KEY=VALUE    sets one key
  --json             {"valid", "errors", "notices"} on stdout
`

export const verb: Verb = { name: 'validate', summary: 'check a config', help, run: validate }

async function validate(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: { ...CONFIG_FLAGS, json: { type: 'boolean', default: false } },
    allowPositionals: true,
  })
  noPositionals('validate', positionals)
  const files = values.config ?? []
  if (files.length === 0) throw new UsageError('validate needs --config FILE')
  const result = loadConfig({ files, sets: values.set ?? [], env: io.env }, registry)
  const errors = result.ok ? [] : result.errors
  const notices = result.ok ? result.notices : []
  if (values.json) io.out(JSON.stringify({ valid: result.ok, errors, notices }, null, 2))
  else {
    for (const notice of notices) io.err(`notice: ${notice}`)
    if (errors.length > 0) io.err(formatErrors(errors))
    else io.out(summary(result.ok ? result.config : undefined))
  }
  return result.ok ? 0 : 1
}

function summary(config: Config | undefined): string {
  return `valid: ${config?.service.pipelines.size ?? 0} pipelines, digest ${config?.digest.slice(0, 12) ?? ''}`
}
