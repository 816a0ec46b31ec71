export type JsonObject = { readonly [key: string]: unknown }

/** The object in a JSON text; undefined for anything else, malformed text included. A value never costs its span. */
export function parseObject(text: string): JsonObject | undefined {
  if (!/^\s*\{/.test(text)) return undefined
  try {
    return asObject(JSON.parse(text))
  } catch {
    return undefined
  }
}

export function asObject(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
    ? (value as JsonObject)
    : undefined
}

/** Own property only: `__proto__` and `constructor` are data. */
export function own(object: JsonObject | undefined, key: string): unknown {
  return object !== undefined && Object.hasOwn(object, key) ? object[key] : undefined
}

export function child(object: JsonObject | undefined, ...path: readonly string[]): JsonObject | undefined {
  let at = object
  for (const key of path) at = asObject(own(at, key))
  return at
}

/** A count ≥ 0 under the first key that has one; NaN when none has. Decimal strings count. */
export function countOf(object: JsonObject | undefined, ...keys: readonly string[]): number {
  for (const key of keys) {
    const value = own(object, key)
    const number = typeof value === 'string' && value.trim() !== '' ? Number(value) : value
    if (typeof number === 'number' && number >= 0 && number <= 0xffff_ffff) return Math.trunc(number)
  }
  return Number.NaN
}
