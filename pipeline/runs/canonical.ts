import { hash } from 'node:crypto'
import canonicalize from 'canonicalize'

/** Deeper values are compared as the text that they came as. */
export const MAX_DEPTH = 128

/**
 * The value of a text that holds a JSON object, list or string; any other text stays text, malformed and too deep JSON
 * included. Numbers and booleans do too: an attribute `"42"` says nothing about having been one.
 */
export function valueOf(text: string): unknown {
  if (!/^\s*[[{"]/.test(text)) return text
  try {
    const value: unknown = JSON.parse(text)
    return isShallow(value, MAX_DEPTH) ? value : text
  } catch {
    return text
  }
}

/** RFC 8785. What has no canonical form is given one: numbers beyond a double become null, lone surrogates U+FFFD. */
export function canonical(value: unknown): string {
  try {
    return canonicalize(value) ?? 'null'
  } catch {
    return canonicalize(wellFormed(value)) ?? 'null'
  }
}

/** SHA-256 of the canonical form, hex. */
export function fingerprint(value: unknown): string {
  return hash('sha256', canonical(value), 'hex')
}

function isShallow(value: unknown, depth: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  if (depth === 0) return false
  for (const item of Object.values(value)) if (!isShallow(item, depth - 1)) return false
  return true
}

function wellFormed(value: unknown): unknown {
  if (typeof value === 'string') return value.replace(LONE, '\ufffd')
  if (typeof value === 'number') return Number.isFinite(value) ? value : null
  if (Array.isArray(value)) return value.map(wellFormed)
  if (typeof value !== 'object' || value === null) return value
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key.replace(LONE, '\ufffd'), wellFormed(item)]),
  )
}

const LONE = /\p{Surrogate}/gu
