import type { Registry } from '../pipeline/factory.ts'
import { inputSchema, type JsonSchema } from '../pipeline/input/json-schema.ts'
import { findFactory, SECTIONS, typeOf } from './sections.ts'
import { serviceSchema } from './service.ts'

/** The JSON Schema of one document: each component's schema under the ids that this document uses. */
export function schemaOf(ids: (section: string) => Iterable<string>, registry: Registry): JsonSchema {
  const properties: Record<string, JsonSchema> = { service: inputSchema(serviceSchema) }
  for (const { name } of SECTIONS) {
    const components: Record<string, JsonSchema> = {}
    for (const id of ids(name)) {
      const factory = findFactory(registry, name, typeOf(id))
      if (factory !== undefined) components[id] = inputSchema(factory.config)
    }
    properties[name] = { type: 'object', properties: components }
  }
  return { type: 'object', properties }
}
