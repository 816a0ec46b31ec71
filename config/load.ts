import type { Config } from '../pipeline/config.ts'
import type { Registry } from '../pipeline/factory.ts'
import { messageOf } from '../pipeline/fault.ts'
import { schemaOf } from './document-schema.ts'
import { expand, type Env } from './expand.ts'
import { fit } from './fit.ts'
import { merge } from './merge.ts'
import type { Problem } from '../pipeline/input/issues.ts'
import type { Path } from '../pipeline/input/path.ts'
import { isBroken, locate, type Node } from './node.ts'
import { parseDocument } from './parse.ts'
import { configError, formatError, type ConfigError } from './problem.ts'
import { readText } from './read.ts'
import { readSet } from './set.ts'
import { readYaml } from './yaml.ts'

export { formatError, formatErrors, type ConfigError } from './problem.ts'

export interface LoadOptions {
  /** Paths, a `file:` before them is allowed; later files win. */
  readonly files: readonly string[]
  /** `key.path=value`; they win over all files. */
  readonly sets: readonly string[]
  readonly env: Env
}

export type LoadResult =
  | {
      readonly ok: true
      readonly config: Config
      readonly notices: readonly string[]
      /** What is found to be wrong later, at its place. */
      readonly errorAt: (path: Path, message: string) => ConfigError
    }
  | { readonly ok: false; readonly errors: readonly ConfigError[] }

/** YAML files → merge → `--set` → references → schemas → wiring. All errors at once, by file, line and column. */
export function loadConfig(options: LoadOptions, registry: Registry): LoadResult {
  const errors: ConfigError[] = []
  const layers = [
    ...options.files.map((file) => readFile(file, errors)),
    ...options.sets.map((set) => readSet(set, errors)),
  ].filter((layer) => layer !== undefined)
  if (options.files.length === 0) errors.push(noFiles())
  if (errors.length > 0) return { ok: false, errors }
  const merged = layers.reduce((under, over) => merge(under, over))
  const root = expand(merged, options.env, errors)
  const raw =
    fit(
      root,
      schemaOf((section) => idsIn(root, section), registry),
    ) ?? {}
  const outcome = parseDocument(raw, registry)
  for (const problem of outcome.problems) {
    // Its reference failed, which is reported: what the schema says of the hole is no news.
    if (!isBroken(root, problem.path)) errors.push(toError(problem, root))
  }
  if (outcome.config === undefined || errors.length > 0)
    return { ok: false, errors: inOrder(errors, options) }
  const notices = outcome.notices.map((notice) => formatError(toError(notice, root)))
  return {
    ok: true,
    config: outcome.config,
    notices,
    errorAt: (path, message) => toError({ path, message }, root),
  }
}

function readFile(file: string, errors: ConfigError[]): Node | undefined {
  const scheme = /^([a-z]{2,}):/.exec(file)?.[1]
  const path = scheme === 'file' ? file.slice('file:'.length) : file
  const origin = { file: path, line: 1, col: 1 }
  if (scheme !== undefined && scheme !== 'file') {
    errors.push(
      configError({ ...origin, file, line: 0 }, [], `--config takes files; ${scheme}: is not supported`),
    )
    return undefined
  }
  try {
    const node = readYaml(readText(path), path, errors)
    if (node === undefined || node.kind === 'map') return node
    // An empty file is an empty layer.
    if (node.kind === 'scalar' && node.value === null) return { kind: 'map', origin, entries: new Map() }
    errors.push(configError(node.origin, [], 'a config is a map with receivers, exporters, service, …'))
  } catch (error) {
    errors.push(configError({ ...origin, line: 0 }, [], messageOf(error)))
  }
  return undefined
}

function noFiles(): ConfigError {
  return configError({ file: '--config', line: 0, col: 0 }, [], 'at least one file is needed')
}

function idsIn(root: Node, section: string): Iterable<string> {
  const node = root.kind === 'map' ? root.entries.get(section)?.node : undefined
  return node?.kind === 'map' ? node.entries.keys() : []
}

function toError(problem: Problem, root: Node): ConfigError {
  return configError(locate(root, problem.path, problem.at ?? 'value'), problem.path, problem.message)
}

/** By file as given, then by place; `--set` last. */
function inOrder(errors: readonly ConfigError[], options: LoadOptions): ConfigError[] {
  const rank = (error: ConfigError): number => {
    const index = options.files.findIndex((file) => file.replace(/^file:/, '') === error.file)
    return index < 0 ? options.files.length : index
  }
  return [...errors].sort((a, b) => rank(a) - rank(b) || a.line - b.line || a.col - b.col)
}
