import type { Node, Origin } from './node.ts'
import { configError, type ConfigError } from './problem.ts'
import { readYaml } from './yaml.ts'

/**
 * `--set a.b=value` → a document with that one path. The value is YAML; a string-typed field keeps its text.
 * Keys that hold dots are reached with `::` between all parts, as in the collector (`service::telemetry::resource::a.b=x`).
 */
export function readSet(set: string, errors: ConfigError[]): Node | undefined {
  const equals = set.indexOf('=')
  const path = equals < 0 ? set : set.slice(0, equals)
  // The value may be a secret: only the path is ever printed.
  const origin: Origin = { file: `--set ${path}`, line: 0, col: 0 }
  const keys = path.includes('::') ? path.split('::') : path.split('.')
  if (equals < 0 || keys.some((key) => key.trim() === '' || key === '__proto__')) {
    errors.push(configError(origin, [], 'must be key.path=value'))
    return undefined
  }
  const text = set.slice(equals + 1)
  const found: ConfigError[] = []
  const value = readYaml(text, origin.file, found)
  errors.push(...found.map((error) => ({ ...error, ...origin })))
  if (value === undefined) return undefined
  return keys.reduceRight<Node>(
    (node, key) => ({ kind: 'map', origin, entries: new Map([[key.trim(), { origin, node }]]) }),
    { ...place(value, origin), text },
  )
}

/** Lines within the argument mean nothing to a reader: everything is placed at the argument. */
function place(node: Node, origin: Origin): Node {
  if (node.kind === 'list') return { ...node, origin, items: node.items.map((item) => place(item, origin)) }
  if (node.kind === 'scalar') return { ...node, origin }
  const entries = new Map(
    Array.from(node.entries, ([key, entry]) => [key, { origin, node: place(entry.node, origin) }] as const),
  )
  return { ...node, origin, entries }
}
