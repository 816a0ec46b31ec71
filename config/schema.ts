import type { Registry } from '../pipeline/factory.ts'
import { inputSchema, type JsonSchema } from '../pipeline/input/json-schema.ts'
import { SECTIONS, type FactoryInfo } from './sections.ts'
import { serviceSchema } from './service.ts'

/** JSON Schema of a whole config, for editors: every component under its type, its aliases and `type/name`. */
export function configSchema(registry: Registry): object {
  const sections = SECTIONS.map(({ name }) => [name, sectionSchema(registry[name])])
  return {
    $schema: 'https://json-schema.org/draft/2020-12/schema',
    title: 'weir config',
    type: 'object',
    additionalProperties: false,
    required: ['receivers', 'exporters', 'service'],
    properties: { ...Object.fromEntries(sections), service: withReferences(inputSchema(serviceSchema)) },
    $defs: {
      reference: {
        description: 'A value from outside: ${env:NAME}, ${env:NAME:-default} or ${file:PATH}.',
        type: 'string',
        pattern: '\\$\\{',
      },
    },
  }
}

function sectionSchema(factories: readonly FactoryInfo[]): object {
  const patterns = factories.map(({ type, aliases, summary, config }) => [
    `^(${[type, ...(aliases ?? [])].join('|')})(/.+)?$`,
    // A key with nothing behind it means all defaults.
    { description: summary, anyOf: [withReferences(inputSchema(config)), { type: 'null' }] },
  ])
  return {
    type: ['object', 'null'],
    patternProperties: Object.fromEntries(patterns),
    additionalProperties: false,
  }
}

const REFERENCE = { $ref: '#/$defs/reference' }

/** Lets every value that is not free text also be a reference. */
function withReferences(schema: JsonSchema): object {
  const union = (['anyOf', 'oneOf', 'allOf'] as const).find((key) => schema[key] !== undefined)
  if (union !== undefined) {
    const { description, default: preset } = schema
    const parts = schema[union]?.map(withReferencesInside) ?? []
    const inner = { [union]: parts }
    const anyOf = union === 'anyOf' ? [...parts, REFERENCE] : [inner, REFERENCE]
    return { ...keep({ description, default: preset }), anyOf }
  }
  const inside = withReferencesInside(schema)
  if (schema.type === 'object' || schema.type === 'array' || isFreeText(schema)) return inside
  const { description, default: preset, ...rest } = inside as JsonSchema
  return { ...keep({ description, default: preset }), anyOf: [rest, REFERENCE] }
}

function isFreeText(schema: JsonSchema): boolean {
  return schema.type === 'string' && schema.pattern === undefined && schema.enum === undefined
}

function withReferencesInside(schema: JsonSchema): object {
  const { properties, items, additionalProperties } = schema
  return {
    ...schema,
    ...(properties && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([key, inner]) => [key, withReferences(inner)]),
      ),
    }),
    ...(items && { items: withReferences(items) }),
    ...(typeof additionalProperties === 'object' && {
      additionalProperties: withReferences(additionalProperties),
    }),
  }
}

function keep(fields: Readonly<Record<string, unknown>>): object {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined))
}
