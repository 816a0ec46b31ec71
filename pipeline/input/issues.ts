import type { z } from 'zod'
import { reject, type FaultCode } from '../fault.ts'
import {
  alternatives,
  below,
  inputSchema,
  itemsOf,
  keysOf,
  typeName,
  type JsonSchema,
} from './json-schema.ts'
import { pathText, type Path } from './path.ts'
import { hasSecretName, printable } from './redact.ts'
import { hint, quoted } from './suggest.ts'

type Issue = z.core.$ZodIssue

/** Something wrong with a value that a user wrote: in a config, or in a request. */
export interface Problem {
  readonly path: Path
  /** What to point at: the key (unknown, not needed) or the value (default). */
  readonly at?: 'key' | 'value'
  readonly message: string
}

/** Those that one message names. */
const MAX_NAMED = 5

/** `value` as the schema has it; else a Fault of this code that names every field, what is wrong and what would be right. */
export function checked<S extends z.ZodType>(
  schema: S,
  value: unknown,
  { code = 'REQUEST_INVALID', base = [] }: { readonly code?: FaultCode; readonly base?: Path } = {},
): z.output<S> {
  const result = schema.safeParse(value)
  if (result.success) return result.data
  const problems = problemsOf(result.error.issues, value, inputSchema(schema), base)
  const named = problems
    .slice(0, MAX_NAMED)
    .map(({ path, message }) => (path.length === 0 ? message : `${pathText(path)}: ${message}`))
  const more = problems.length > MAX_NAMED ? [`and ${problems.length - MAX_NAMED} more`] : []
  throw reject(code, [...named, ...more].join('; '))
}

/** zod's issues about `value` as problems an operator can act on; `base` is where the value stands. */
export function problemsOf(
  issues: readonly Issue[],
  value: unknown,
  schema: JsonSchema,
  base: Path,
): Problem[] {
  return issues.flatMap((issue) => {
    const path = issue.path.map((part) => (typeof part === 'number' ? part : String(part)))
    const schemas = schemasAt(schema, path)
    const found = valueAt(value, path)
    if (issue.code === 'unrecognized_keys') {
      return issue.keys.map((key): Problem => {
        const message = `unknown key ${quoted(key)}${hint(key, keysOf(schemas), 'known keys')}`
        return { path: [...base, ...path, key], at: 'key', message }
      })
    }
    if (issue.code === 'invalid_union') {
      const nested = unionIssues(issue)
      if (nested !== undefined) return problemsOf(nested, value, schema, base)
    }
    const isSecret =
      schemas.some((inner) => inner.secret === true) || path.some((part) => hasSecretName(String(part)))
    return [{ path: [...base, ...path], message: messageFor(issue, found, isSecret, schemas) }]
  })
}

/** The issues of the alternative that was most likely meant: the one that got furthest into the value. */
function unionIssues(issue: Extract<Issue, { code: 'invalid_union' }>): Issue[] | undefined {
  const branches = issue.errors.filter((errors) => errors.length > 0)
  const right = branches.filter((errors) => !errors.some((error) => isOtherType(error)))
  const [best] = right.sort((a, b) => a.length - b.length)
  return best?.map((error) => ({ ...error, path: [...issue.path, ...error.path] }))
}

function isOtherType(error: Issue): boolean {
  if (error.path.length > 0) return false
  return error.code === 'invalid_type' || (error.code === 'invalid_value' && error.values.length === 1)
}

function messageFor(issue: Issue, value: unknown, isSecret: boolean, schemas: readonly JsonSchema[]): string {
  if (value === undefined && !isCustom(issue)) return 'is required'
  const got = isSecret || typeof value === 'object' ? '' : `, got ${printable(value)}`
  // A message that a schema brings is better than ours.
  if (!/^(Invalid|Too|Unrecognized)\b/.test(issue.message))
    return `${issue.message}${isCustom(issue) ? '' : got}`
  if (issue.code === 'invalid_type') return wrongType([issue.expected], value, isSecret)
  if (issue.code === 'invalid_value') return oneOf(issue.values.map(String), value, isSecret)
  if (issue.code === 'invalid_union') return unionMessage(issue, value, isSecret, schemas)
  if (issue.code === 'too_big') return `must be at most ${issue.maximum}${unit(issue.origin)}${got}`
  if (issue.code === 'too_small') {
    if (issue.minimum === 1 && unit(issue.origin) !== '') return 'must not be empty'
    const bound = issue.inclusive === false ? 'more than' : 'at least'
    return `must be ${bound} ${issue.minimum}${unit(issue.origin)}${got}`
  }
  return `${lowerFirst(issue.message)}${got}`
}

function unionMessage(
  issue: Extract<Issue, { code: 'invalid_union' }>,
  value: unknown,
  isSecret: boolean,
  schemas: readonly JsonSchema[],
): string {
  if (issue.discriminator !== undefined) return oneOf(constsOf(schemas), value, isSecret)
  const expected = schemas.flatMap((schema) => schema.type ?? typeName(schema.const))
  return wrongType(expected, value, isSecret)
}

function isCustom(issue: Issue): boolean {
  return issue.code === 'custom'
}

function oneOf(all: readonly string[], value: unknown, isSecret: boolean): string {
  // Upper-case spellings are accepted, not advertised.
  const values = all.filter((text) => text === text.toLowerCase() || !all.includes(text.toLowerCase()))
  const got = isSecret ? '' : `, got ${printable(value)}`
  const near = typeof value === 'string' && !isSecret ? hint(value, values) : ''
  const suggestion = near.startsWith('; did') ? near : ''
  return `must be ${values.length === 1 ? '' : 'one of '}${values.join(', ')}${got}${suggestion}`
}

function constsOf(schemas: readonly JsonSchema[]): string[] {
  return schemas
    .flatMap((schema) => (schema.const === undefined ? (schema.enum ?? []) : [schema.const]))
    .map(String)
}

const NAMES: Readonly<Record<string, string>> = {
  string: 'a string',
  number: 'a number',
  int: 'a whole number',
  integer: 'a whole number',
  boolean: 'true or false',
  object: 'a map',
  record: 'a map',
  array: 'a list',
  null: 'nothing',
}

function wrongType(expected: readonly string[], value: unknown, isSecret: boolean): string {
  const names = [...new Set(expected.flat().filter((name) => name !== 'null'))].map(
    (name) => NAMES[name] ?? name,
  )
  const actual = NAMES[typeName(value)] ?? typeName(value)
  const isScalar = typeof value !== 'object'
  const shown = isScalar && !isSecret ? ` (${printable(value)})` : ''
  const remedy = names.length === 1 && names[0] === 'a string' && isScalar ? '; put it in quotes' : ''
  return `must be ${names.join(' or ')}, got ${actual === 'true or false' ? 'a boolean' : actual}${shown}${remedy}`
}

function unit(origin: string): string {
  if (origin === 'string') return ' characters'
  return origin === 'array' || origin === 'set' ? ' items' : ''
}

function lowerFirst(text: string): string {
  return text.replace(/^(Invalid|Too|Expected|Unrecognized)\b/, (word) => word.toLowerCase())
}

function schemasAt(schema: JsonSchema, path: Path): JsonSchema[] {
  let schemas = alternatives(schema)
  for (const part of path) schemas = typeof part === 'number' ? itemsOf(schemas) : below(schemas, part)
  return schemas
}

function valueAt(value: unknown, path: Path): unknown {
  let found = value
  for (const part of path) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined
    found = (found as Record<string | number, unknown>)[part]
  }
  return found
}
