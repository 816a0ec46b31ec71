import { formatErrors, loadConfig } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import { registry } from './registry.ts'
import { UsageError, type Io } from './verb.ts'

/** The flags of verbs that read a config, for `parseArgs`. */
export const CONFIG_FLAGS = {
  config: { type: 'string', multiple: true },
  set: { type: 'string', multiple: true },
} as const

export interface ConfigFlags {
  readonly config?: string[] | undefined
  readonly set?: string[] | undefined
}

/** Loads what the flags name and prints notices; undefined after printing all errors. */
export function loadFor(verb: string, flags: ConfigFlags, io: Io): Config | undefined {
  const files = flags.config ?? []
  if (files.length === 0) throw new UsageError(`${verb} needs --config FILE`)
  const result = loadConfig({ files, sets: flags.set ?? [], env: io.env }, registry)
  if (!result.ok) {
    io.err(formatErrors(result.errors))
    return undefined
  }
  for (const notice of result.notices) io.err(`notice: ${notice}`)
  return result.config
}

/** Refuses arguments that are no flags. */
export function noPositionals(verb: string, positionals: readonly string[]): void {
  const [first] = positionals
  if (first !== undefined) throw new UsageError(`${verb} takes flags only, not "${first}"`)
}
