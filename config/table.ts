import { alternatives, type JsonSchema } from '../pipeline/input/json-schema.ts'

/** One line of a reference table. */
interface Row {
  readonly key: string
  readonly type: string
  readonly preset: string
  readonly text: string
}

/** The keys of a component's config as a Markdown table, nested ones by dots. */
export function configTable(schema: JsonSchema): string {
  const rows = rowsOf(schema, '')
  if (rows.length === 0) return 'No keys: `{}`.'
  const lines = rows.map(
    ({ key, type, preset, text }) => `| ${cell(key)} | ${cell(type)} | ${cell(preset)} | ${cell(text)} |`,
  )
  return ['| key | type | default | |', '| --- | --- | --- | --- |', ...lines].join('\n')
}

function cell(text: string): string {
  return text.replace(/\|/g, '\\|').replace(/\s*\n\s*/g, ' ')
}

function rowsOf(schema: JsonSchema, prefix: string): Row[] {
  // A shape with a name of its own is described where it occurs first.
  if (schema.notation !== undefined) return []
  const maps = alternatives(schema).filter((inner) => inner.properties !== undefined)
  const keys = [...new Set(maps.flatMap((map) => Object.keys(map.properties ?? {})))]
  return keys.flatMap((key) => {
    const having = maps.filter((map) => map.properties?.[key] !== undefined)
    const variants = distinct(having.map((map) => map.properties?.[key] ?? {}))
    const note = having.length < maps.length ? onlyWith(having) : ''
    const isRequired = having.every((map) => map.required?.includes(key) === true)
    return rowsForKey(`${prefix}${key}`, variants, note, isRequired)
  })
}

function distinct(schemas: readonly JsonSchema[]): JsonSchema[] {
  const seen = new Map(schemas.map((schema) => [JSON.stringify(schema), schema]))
  return [...seen.values()]
}

function rowsForKey(path: string, variants: readonly JsonSchema[], note: string, isRequired: boolean): Row[] {
  const [first = {}] = variants
  const texts = distinctText(variants.map((variant) => variant.description ?? ''))
  const row: Row = {
    key: `\`${path}\``,
    type: distinctText(variants.map(typeText)).join(' or '),
    preset: isRequired ? 'required' : presetText(first),
    text: [...texts, note].filter((text) => text !== '').join(' '),
  }
  return [row, ...variants.flatMap((variant) => nested(variant, path))]
}

function nested(schema: JsonSchema, path: string): Row[] {
  return alternatives(schema).flatMap((inner) => {
    if (inner.properties !== undefined) return rowsOf(inner, `${path}.`)
    if (inner.items !== undefined) return rowsOf(inner.items, `${path}[].`)
    return typeof inner.additionalProperties === 'object'
      ? rowsOf(inner.additionalProperties, `${path}.<id>.`)
      : []
  })
}

/** Which alternative of a union brings a key: told by its constants. */
function onlyWith(maps: readonly JsonSchema[]): string {
  const marks = maps.flatMap((map) =>
    Object.entries(map.properties ?? {}).flatMap(([key, inner]) =>
      inner.const === undefined ? [] : [`\`${key}: ${String(inner.const)}\``],
    ),
  )
  return marks.length === 0 ? '' : `(With ${marks.join(' or ')}.)`
}

function distinctText(texts: readonly string[]): string[] {
  return [...new Set(texts)].filter((text) => text !== '')
}

function typeText(schema: JsonSchema): string {
  if (schema.secret === true) return 'secret'
  if (schema.notation !== undefined) return schema.notation
  if (schema.const !== undefined) return `\`${String(schema.const)}\``
  if (schema.enum !== undefined) return enumText(schema.enum.map(String))
  const union = schema.anyOf ?? schema.oneOf ?? schema.allOf
  if (union !== undefined)
    return distinctText(union.filter((inner) => inner.type !== 'null').map(typeText)).join(' or ')
  if (schema.type === 'array') return `list of ${typeText(schema.items ?? {})}`
  if (schema.type === 'object') return 'map'
  return [schema.type ?? 'any'].flat().join(' or ')
}

/** Upper-case spellings are accepted, not advertised. */
function enumText(values: readonly string[]): string {
  const shown = values.filter((text) => text === text.toLowerCase() || !values.includes(text.toLowerCase()))
  return shown.map((text) => `\`${text}\``).join(', ')
}

function presetText(schema: JsonSchema): string {
  const { default: preset } = schema
  // A map's default is that of its keys, which follow.
  if (preset === undefined || (typeof preset === 'object' && preset !== null && !Array.isArray(preset)))
    return ''
  return `\`${typeof preset === 'string' ? preset : JSON.stringify(preset)}\``
}
