import { z } from 'zod'
import { messageOf } from '../../../pipeline/fault.ts'
import { isLinear } from '../../../pipeline/linear-regexp.ts'

type Compiled =
  | { readonly problem: string }
  | {
      readonly problem?: undefined
      /** Where parameters are not as they must be, and how; undefined: they are. Names of fields only. */
      readonly judge: (parameters: unknown) => string | undefined
    }

const DEEPEST = 20
const LONGEST_PLACE = 60

/** A JSON Schema, checked and compiled. */
export function compile(schema: Readonly<Record<string, unknown>>): Compiled {
  try {
    checkPatterns(schema, 0)
    const compiled = z.fromJSONSchema(schema)
    return { judge: (parameters) => problemOf(compiled, parameters) }
  } catch (error) {
    return { problem: `is no JSON Schema that can be used: ${messageOf(error)}` }
  }
}

function problemOf(schema: z.ZodType, parameters: unknown): string | undefined {
  let result
  try {
    result = schema.safeParse(parameters)
  } catch {
    // Nested so deeply that the stack was not enough.
    return 'too deep'
  }
  const issue = result.error?.issues[0]
  if (issue === undefined) return undefined
  const place = issue.path.map(String).join('.').slice(0, LONGEST_PLACE)
  return place === '' ? words(issue.code) : `${place}: ${words(issue.code)}`
}

function words(code: string): string {
  return code.replaceAll('_', ' ')
}

/** Patterns meet texts of anybody. Throws an Error that names the one that could be slow. */
function checkPatterns(value: unknown, depth: number): void {
  if (depth > DEEPEST) throw new Error('it is too deep')
  if (typeof value !== 'object' || value === null) return
  for (const [key, inner] of Object.entries(value)) {
    if (key === 'pattern' && typeof inner === 'string') checkPattern(inner)
    if (key === 'patternProperties' && typeof inner === 'object' && inner !== null)
      Object.keys(inner).forEach(checkPattern)
    checkPatterns(inner, depth + 1)
  }
}

function checkPattern(pattern: string): void {
  if (!isLinear(pattern)) throw new Error(`the pattern ${pattern} cannot run in linear time`)
}
