import type { ConfigError } from '../config/load.ts'
import type { Config } from '../pipeline/config.ts'
import type { Path } from '../pipeline/input/path.ts'
import { tlsProblems } from '../pipeline/net/tls-files.ts'
import { named } from './named.ts'

/** What is wrong with the files of the `tls` blocks of all components that would run, by the place in the config. */
export async function tlsErrors(
  config: Config,
  errorAt: (path: Path, message: string) => ConfigError,
): Promise<ConfigError[]> {
  const errors: ConfigError[] = []
  for (const [section, id] of used(config)) {
    for (const { path, block } of blocksIn(mapOf(mapOf(config.raw)[section])[id], [section, id])) {
      for (const { key, message } of await tlsProblems(block)) errors.push(errorAt([...path, key], message))
    }
  }
  return errors
}

function used(config: Config): (readonly [section: string, id: string])[] {
  const inPipelines = (['receivers', 'processors', 'connectors', 'exporters'] as const).flatMap((section) =>
    named(config, section).map(({ id }) => [section, id] as const),
  )
  return [...inPipelines, ...config.service.extensions.map((id) => ['extensions', id] as const)]
}

interface Block {
  readonly path: Path
  readonly block: Readonly<Record<string, unknown>>
}

function* blocksIn(value: unknown, path: Path): Iterable<Block> {
  if (Array.isArray(value)) {
    for (const [index, item] of value.entries()) yield* blocksIn(item, [...path, index])
    return
  }
  for (const [key, inner] of Object.entries(mapOf(value))) {
    if (key === 'tls') yield { path: [...path, key], block: mapOf(inner) }
    else yield* blocksIn(inner, [...path, key])
  }
}

function mapOf(value: unknown): Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as Readonly<Record<string, unknown>>)
    : {}
}
