import { alternatives, below, itemsOf, type JsonSchema } from './json-schema.ts'

const REDACTED = '[REDACTED]'

/** Names of keys whose text is taken for a secret where no schema says so (header maps and the like). */
const SECRET_KEY =
  /pass(word|wd|phrase)?$|secret|token$|api[-_]?key|authorization|credential|private[-_]?key|cookie/i
const PATH_KEY = /[-_](file|path|dir|directory)$/i

/** A copy of a config value without secrets: fields marked `secret`, keys named like one, userinfo in URLs. */
export function redact(value: unknown, schema: JsonSchema): unknown {
  return walk(value, alternatives(schema), '')
}

function walk(value: unknown, schemas: readonly JsonSchema[], key: string): unknown {
  if (Array.isArray(value)) {
    const inner = itemsOf(schemas)
    return value.map((item: unknown) => walk(item, inner, key))
  }
  if (typeof value === 'object' && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [name, walk(inner, below(schemas, name), name)]),
    )
  }
  const isSecret = schemas.some((schema) => schema.secret === true) || hasSecretName(key)
  if (isSecret && value !== null && typeof value !== 'boolean') return REDACTED
  return typeof value === 'string' ? withoutUserinfo(value) : value
}

export function hasSecretName(key: string): boolean {
  return SECRET_KEY.test(key) && !PATH_KEY.test(key)
}

/** `https://user:pass@host` → `https://[REDACTED]@host`; also where several URLs stand in one text. */
export function withoutUserinfo(text: string): string {
  return text.replace(/([a-z][a-z0-9+.-]*:\/\/)[^/?#\s]*@/gi, `$1${REDACTED}@`)
}

/** A scalar as it is shown in a message: quoted, cut, without userinfo. */
export function printable(value: unknown): string {
  if (typeof value !== 'string') return String(value)
  const text = withoutUserinfo(value)
  return JSON.stringify(text.length > 60 ? `${text.slice(0, 57)}…` : text)
}
