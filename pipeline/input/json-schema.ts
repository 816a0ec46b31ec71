import { z } from 'zod'

/** What is used of JSON Schema here. */
export interface JsonSchema {
  readonly type?: string | readonly string[]
  readonly description?: string
  readonly default?: unknown
  readonly const?: string | number | boolean | null
  readonly enum?: readonly (string | number | boolean | null)[]
  readonly pattern?: string
  readonly minLength?: number
  readonly properties?: Readonly<Record<string, JsonSchema>>
  readonly patternProperties?: Readonly<Record<string, JsonSchema>>
  readonly additionalProperties?: JsonSchema | boolean
  readonly required?: readonly string[]
  readonly items?: JsonSchema
  readonly anyOf?: readonly JsonSchema[]
  readonly oneOf?: readonly JsonSchema[]
  readonly allOf?: readonly JsonSchema[]
  readonly minimum?: number
  readonly maximum?: number
  readonly exclusiveMinimum?: number
  /** Our own mark: never printed (`secret()` in pipeline/schema.ts). */
  readonly secret?: boolean
  /** Our own mark: the name of a shared value type (pipeline/schema.ts). */
  readonly notation?: string
}

const cache = new WeakMap<z.ZodType, JsonSchema>()

/** The schema of what a user may write: before defaults and transforms. */
export function inputSchema(schema: z.ZodType): JsonSchema {
  let found = cache.get(schema)
  if (found === undefined) {
    const { $schema: _, ...rest } = z.toJSONSchema(schema, { io: 'input', unrepresentable: 'any' })
    found = rest as JsonSchema
    cache.set(schema, found)
  }
  return found
}

/** The alternatives that a schema stands for, unions taken apart. */
export function alternatives(schema: JsonSchema): JsonSchema[] {
  const nested = schema.anyOf ?? schema.oneOf ?? schema.allOf
  return nested === undefined ? [schema] : nested.flatMap(alternatives)
}

/** The schemas that a map's value under `key` may follow. */
export function below(schemas: readonly JsonSchema[], key: string): JsonSchema[] {
  return schemas.flatMap((schema) => {
    const { properties, additionalProperties } = schema
    const own = properties !== undefined && Object.hasOwn(properties, key) ? properties[key] : undefined
    if (own !== undefined) return alternatives(own)
    return typeof additionalProperties === 'object' ? alternatives(additionalProperties) : []
  })
}

/** The schemas that a list's items may follow. */
export function itemsOf(schemas: readonly JsonSchema[]): JsonSchema[] {
  return schemas.flatMap((schema) => (schema.items === undefined ? [] : alternatives(schema.items)))
}

/** The keys that a map may have. */
export function keysOf(schemas: readonly JsonSchema[]): string[] {
  return [...new Set(schemas.flatMap((schema) => Object.keys(schema.properties ?? {})))]
}

/** Whether one of the schemas takes this type; a schema without a type takes all. */
export function takesType(schemas: readonly JsonSchema[], type: string): boolean {
  return schemas.some((schema) => {
    if (schema.const !== undefined || schema.enum !== undefined) {
      return (schema.enum ?? [schema.const]).some((value) => typeName(value) === type)
    }
    if (schema.type === undefined) return true
    return [schema.type].flat().some((name) => name === type || (name === 'integer' && type === 'number'))
  })
}

/** Whether one of the schemas takes this scalar, by type and by const or enum. */
export function takesScalar(schemas: readonly JsonSchema[], value: unknown): boolean {
  return schemas.some((schema) => {
    if (schema.const !== undefined || schema.enum !== undefined) {
      return (schema.enum ?? [schema.const]).some((allowed) => allowed === value)
    }
    return takesType([schema], typeName(value))
  })
}

export function typeName(value: unknown): string {
  if (value === null) return 'null'
  if (Array.isArray(value)) return 'array'
  return typeof value
}
