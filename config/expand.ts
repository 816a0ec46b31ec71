import { messageOf } from '../pipeline/fault.ts'
import type { Entry, Node, ScalarNode } from './node.ts'
import { configError, type ConfigError } from './problem.ts'
import { readText } from './read.ts'
import { parseReferences, type Part } from './references.ts'
import { readYaml } from './yaml.ts'
import type { Path } from '../pipeline/input/path.ts'

export type Env = Readonly<Record<string, string | undefined>>

/** References that one written value may resolve, those within its fragments included (the collector's limit). */
const MAX_REFERENCES = 100
/** Over the whole document, so that no set of fragments can fill the memory. */
const MAX_TOTAL = 10_000

class TooManyReferences extends Error {
  override readonly name = 'TooManyReferences'
}

interface Expanding {
  readonly env: Env
  readonly errors: ConfigError[]
  total: number
}

/** One written value under way: its references share one budget. */
interface Value {
  readonly node: ScalarNode
  readonly path: Path
  used: number
}

/** Replaces `${…}` in all values. A failed reference is reported and leaves a value marked as broken. */
export function expand(root: Node, env: Env, errors: ConfigError[]): Node {
  return expandNode(root, [], { env, errors, total: 0 }, undefined)
}

function expandNode(node: Node, path: Path, state: Expanding, within: Value | undefined): Node {
  if (node.kind === 'scalar') return expandScalar(node, path, state, within)
  if (node.kind === 'list') {
    return {
      ...node,
      items: node.items.map((item, index) => expandNode(item, [...path, index], state, within)),
    }
  }
  const entries = new Map<string, Entry>()
  for (const [key, entry] of node.entries) {
    entries.set(key, { origin: entry.origin, node: expandNode(entry.node, [...path, key], state, within) })
  }
  return { ...node, entries }
}

function expandScalar(node: ScalarNode, path: Path, state: Expanding, within: Value | undefined): Node {
  if (typeof node.value !== 'string' || !node.value.includes('$')) return node
  const value: Value = within ?? { node, path, used: 0 }
  try {
    const parts = parseReferences(node.value)
    const [only] = parts
    if (parts.length === 1 && only !== undefined && typeof only !== 'string') {
      return adopt(resolve(only, state, value), node, path, state, value)
    }
    return { kind: 'scalar', origin: node.origin, value: join(parts, state, value) }
  } catch (error) {
    // The written value as a whole is at fault, not the reference that happened to be one too many.
    if (error instanceof TooManyReferences && within !== undefined) throw error
    state.errors.push(configError(node.origin, path, messageOf(error)))
    return { kind: 'scalar', origin: node.origin, value: null, broken: true }
  }
}

/** Text around or between references: the result is text, and what was fetched is taken as it is. */
function join(parts: readonly Part[], state: Expanding, value: Value): string {
  return parts.map((part) => (typeof part === 'string' ? part : resolve(part, state, value).text)).join('')
}

interface Resolved {
  readonly text: string
  readonly source: string
}

function resolve(part: Exclude<Part, string>, state: Expanding, value: Value): Resolved {
  if (++value.used > MAX_REFERENCES || ++state.total > MAX_TOTAL) {
    throw new TooManyReferences(
      `resolves more than ${MAX_REFERENCES} references; does a file include itself?`,
    )
  }
  const target = join(part.target, state, value)
  if (part.scheme === 'file') return { text: fetchFile(target), source: target }
  if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(target)) {
    throw new Error(`"${target.slice(0, 80)}" cannot be the name of an environment variable`)
  }
  const text = Object.hasOwn(state.env, target) ? state.env[target] : undefined
  // As in the collector the default is for unset only: a variable that is set and empty is empty.
  if (text !== undefined) return { text, source: `env:${target}` }
  if (part.fallback !== undefined) return { text: join(part.fallback, state, value), source: `env:${target}` }
  throw new Error(`the environment variable ${target} is not set; set it or write \${env:${target}:-default}`)
}

function fetchFile(path: string): string {
  try {
    // The newline that editors and `echo` put at the end is no part of a secret.
    return readText(path).replace(/\r?\n$/, '')
  } catch (error) {
    throw new Error(`the file ${path} ${messageOf(error)}`, { cause: error })
  }
}

/**
 * What a reference as a whole value becomes: its text read as YAML, with the text kept for string-typed fields.
 * Text that is no YAML, or is a YAML string, stays as it is, and is data: `$` in it means nothing. A map or list is a
 * piece of config, so the references in it are resolved too.
 */
function adopt(found: Resolved, node: ScalarNode, path: Path, state: Expanding, value: Value): Node {
  const { origin } = node
  const parsed = readYaml(found.text, found.source, [])
  if (parsed === undefined || (parsed.kind === 'scalar' && typeof parsed.value === 'string')) {
    return { kind: 'scalar', origin, value: found.text, text: found.text }
  }
  if (parsed.kind === 'scalar') return { ...parsed, origin, text: found.text }
  return { ...expandNode(parsed, path, state, value), origin, text: found.text }
}
