import { parseArgs } from 'node:util'
import { formatErrors, loadConfig, type ConfigError, type LoadResult } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import type { Connection } from './connect.ts'
import { CONFIG_FLAGS, noPositionals } from './flags.ts'
import { registry } from './registry.ts'
import { UsageError, type Io, type Verb } from './verb.ts'

type LoadedConfig = Extract<LoadResult, { readonly ok: true }>

const help = `Usage: weir validate --config FILE [--config FILE …] [--set key.path=value …] [--connect]

Checks a config without running it and prints all errors at once, each as file:line:col path: message.

  --config FILE      a YAML file; several are merged, later ones win
  --set KEY=VALUE    sets one key
  --connect          also starts what the pipelines write to (state, WAL, exporters), asks each whether it
                     works, and stops it. Missing streams, tables and directories are made, as by run.
                     The files of all tls blocks are read, of receivers and extensions too, by the user that
                     calls this. An embedded ClickHouse that a running daemon holds is reported as in use.
  --json             {"valid", "errors", "notices", "connections"} on stdout
`

export const verb: Verb = { name: 'validate', summary: 'check a config', help, run: validate }

async function validate(argv: readonly string[], io: Io): Promise<number> {
  const { values, positionals } = parseArgs({
    args: [...argv],
    options: {
      ...CONFIG_FLAGS,
      connect: { type: 'boolean', default: false },
      json: { type: 'boolean', default: false },
    },
    allowPositionals: true,
  })
  noPositionals('validate', positionals)
  const files = values.config ?? []
  if (files.length === 0) throw new UsageError('validate needs --config FILE')
  const result = loadConfig({ files, sets: values.set ?? [], env: io.env }, registry)
  const notices = result.ok ? result.notices : []
  const { errors, connections } =
    result.ok && values.connect
      ? await connect(result)
      : { errors: result.ok ? [] : result.errors, connections: [] }
  const valid = errors.length === 0 && connections.every(({ ok }) => ok)
  if (values.json) io.out(JSON.stringify({ valid, errors, notices, connections }, null, 2))
  else {
    for (const notice of notices) io.err(`notice: ${notice}`)
    if (errors.length > 0) io.err(formatErrors(errors))
    for (const connection of connections) tell(connection, io)
    if (result.ok && valid) io.out(summary(result.config))
  }
  return valid ? 0 : 1
}

interface Connected {
  readonly errors: readonly ConfigError[]
  readonly connections: readonly Connection[]
}

/** The drivers and the database are loaded only where they are wanted. */
async function connect({ config, errorAt }: LoadedConfig): Promise<Connected> {
  const { tlsErrors } = await import('./tls-files.ts')
  const { probeAll } = await import('./connect.ts')
  return { errors: await tlsErrors(config, errorAt), connections: await probeAll(config, registry) }
}

function tell({ component, ok, error }: Connection, io: Io): void {
  if (ok) io.out(`reached: ${component}`)
  else io.err(`${component}: ${error ?? 'does not work'}`)
}

function summary(config: Config): string {
  return `valid: ${config.service.pipelines.size} pipelines, digest ${config.digest.slice(0, 12)}`
}
