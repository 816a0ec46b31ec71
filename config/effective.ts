import type { Registry } from '../pipeline/factory.ts'
import { schemaOf } from './document-schema.ts'
import { below, itemsOf, typeName, type JsonSchema } from '../pipeline/input/json-schema.ts'
import { redact } from '../pipeline/input/redact.ts'

/** `Config.raw` with the defaults of the schemas, in the form a user would write; redacted unless asked otherwise. */
export function effectiveConfig(raw: unknown, registry: Registry, mode: 'redacted' | 'unredacted'): unknown {
  const schema = schemaOf((section) => keysIn(raw, section), registry)
  const whole = withDefaults(raw, schema)
  return mode === 'redacted' ? redact(whole, schema) : whole
}

function keysIn(raw: unknown, section: string): string[] {
  const document = typeof raw === 'object' && raw !== null ? (raw as Record<string, unknown>) : {}
  return Object.keys(document[section] ?? {})
}

function withDefaults(value: unknown, schema: JsonSchema): unknown {
  const chosen = chosenAlternative(value, schema)
  if (Array.isArray(value)) {
    const [inner] = itemsOf([chosen])
    return inner === undefined ? value : value.map((item: unknown) => withDefaults(item, inner))
  }
  if (typeof value !== 'object' || value === null) return value
  const map: Record<string, unknown> = {}
  for (const [key, inner] of Object.entries(value))
    map[key] = withDefaults(inner, alternativeFor(key, chosen))
  for (const [key, inner] of Object.entries(chosen.properties ?? {})) {
    if (Object.hasOwn(value, key) || inner.default === undefined) continue
    map[key] = withDefaults(inner.default, inner)
  }
  return map
}

function alternativeFor(key: string, schema: JsonSchema): JsonSchema {
  const schemas = below([schema], key)
  return schemas.length === 1 ? (schemas[0] ?? {}) : { anyOf: schemas }
}

/** Of a union the alternative that the value is of: by type, and by the consts that tell maps apart. */
function chosenAlternative(value: unknown, schema: JsonSchema): JsonSchema {
  const nested = schema.anyOf ?? schema.oneOf
  if (nested === undefined) return schema
  return nested.map((inner) => chosenAlternative(value, inner)).find((inner) => matches(value, inner)) ?? {}
}

function matches(value: unknown, schema: JsonSchema): boolean {
  const type = typeName(value)
  if (schema.type !== undefined && ![schema.type].flat().includes(type)) return false
  if (type !== 'object') return true
  return Object.entries(schema.properties ?? {}).every(([key, inner]) => {
    if (inner.const === undefined) return true
    const actual = Object.hasOwn(value as object, key)
      ? (value as Record<string, unknown>)[key]
      : inner.default
    return actual === inner.const
  })
}
