import { Secret } from '../secret.ts'

/** What stands where a secret stood (contract section 8). */
const REDACTED = '[REDACTED]'

const SECRET_KEY =
  /^(?:.*[_.-])?(?:authorization|password|passwd|passphrase|secret|token|api[_-]?key|private[_-]?key|access[_-]?key|client[_-]?secret|credentials?|cookie|set-cookie|signature)$/i

/** Credentials by their shape, wherever they stand in a line. */
const SECRET_TEXT: readonly (readonly [RegExp, string])[] = [
  [/\b(Bearer|Basic)\s+[A-Za-z0-9._~+/=-]{6,}/gi, `$1 ${REDACTED}`],
  // The last letters of the scheme do: without the bound a text of letters takes quadratic time.
  [/([a-z][a-z0-9+.-]{0,15}:\/\/)[^\s/@"'\\]+@/gi, `$1${REDACTED}@`],
  [/\bweir_[a-z0-9]+_[A-Za-z0-9]+_[A-Za-z0-9_-]{8,}/g, REDACTED],
  [/\bsk-[A-Za-z0-9_-]{16,}/g, REDACTED],
  [/\bAKIA[0-9A-Z]{16}\b/g, REDACTED],
]

const MAX_DEPTH = 6

/** True for a key whose value is never printed. */
function isSecretKey(key: string): boolean {
  return SECRET_KEY.test(key)
}

/** `text` without credentials that can be told by their shape. */
export function redactText(text: string): string {
  let result = text
  for (const [pattern, replacement] of SECRET_TEXT) result = result.replace(pattern, replacement)
  return result
}

/** A copy of `value` fit for a log: secrets masked by key and by type, errors as type, code and message. */
export function redactValue(value: unknown, depth = 0): unknown {
  if (value instanceof Secret) return REDACTED
  if (typeof value === 'bigint') return value.toString()
  if (value instanceof Error) return redactError(value, depth)
  if (typeof value !== 'object' || value === null) return value
  if (depth >= MAX_DEPTH) return '[…]'
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`
  if (Array.isArray(value)) return value.map((item) => redactValue(item, depth + 1))
  return redactObject(value, depth)
}

function redactObject(value: object, depth: number): Record<string, unknown> {
  // fromEntries defines own properties, so that a `__proto__` key stays data.
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [
      key,
      isSecretKey(key) && item !== undefined ? REDACTED : redactValue(item, depth + 1),
    ]),
  )
}

function redactError(error: Error, depth: number): Record<string, unknown> {
  const code = (error as { code?: unknown }).code
  return {
    type: error.name,
    ...(code === undefined ? {} : { code }),
    message: error.message,
    ...(error.cause === undefined || depth >= MAX_DEPTH
      ? {}
      : { cause: redactValue(error.cause, depth + 1) }),
    // A Fault is an operator's matter; only a bug needs the place it came from.
    ...(error.name === 'Fault' ? {} : { stack: error.stack }),
  }
}
