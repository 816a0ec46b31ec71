import {
  alternatives,
  below,
  itemsOf,
  takesScalar,
  takesType,
  type JsonSchema,
} from '../pipeline/input/json-schema.ts'
import type { Node, ScalarNode } from './node.ts'

/** What JSON can hold. */
export type Plain = string | number | boolean | null | Plain[] | { [key: string]: Plain }

/**
 * Nodes → plain values, by the schema of the place where each stands:
 * - a referenced value keeps its text where only a string will do (`0123` stays "0123");
 * - a null is `{}` where a map is wanted (`otlp:` means all defaults), and absent where nothing else fits.
 * Undefined: leave the key away.
 */
export function fit(node: Node, schema: JsonSchema): Plain | undefined {
  return fitTo(node, alternatives(schema))
}

function fitTo(node: Node, schemas: readonly JsonSchema[]): Plain | undefined {
  if (node.kind === 'scalar') return fitScalar(node, schemas)
  const type = node.kind === 'map' ? 'object' : 'array'
  if (node.text !== undefined && !takesType(schemas, type) && takesType(schemas, 'string')) return node.text
  if (node.kind === 'list') {
    const inner = itemsOf(schemas)
    return node.items.map((item) => fitTo(item, inner) ?? null)
  }
  const map: { [key: string]: Plain } = {}
  for (const [key, entry] of node.entries) {
    const value = fitTo(entry.node, below(schemas, key))
    if (value !== undefined) map[key] = value
  }
  return map
}

function fitScalar(node: ScalarNode, schemas: readonly JsonSchema[]): Plain | undefined {
  const { value, text } = node
  if (node.broken === true) return undefined
  // Nothing is known of this place (an unknown key): keep what was written.
  if (schemas.length === 0) return value
  if (takesScalar(schemas, value)) return value
  if (text !== undefined && takesType(schemas, 'string')) {
    // `password: ${env:PASSWORD:-}` where no empty text is allowed: not given.
    return text === '' && schemas.every((schema) => (schema.minLength ?? 0) > 0) ? undefined : text
  }
  if (value !== null) return value
  return takesType(schemas, 'object') ? {} : undefined
}
