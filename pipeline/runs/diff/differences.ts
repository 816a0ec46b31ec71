import { canonical } from '../canonical.ts'

/** One place where two values differ. */
export interface Difference {
  /** JSONPath; `$` is the whole value. */
  readonly path: string
  /** Canonical JSON, cut; absent where there is nothing. */
  readonly a?: string
  readonly b?: string
}

const MAX_DIFFERENCES = 10
const MAX_TEXT = 200

/** The first places where two values of JSON differ, in the order of keys. */
export function differences(a: unknown, b: unknown): readonly Difference[] {
  const found: Difference[] = []
  collect(a, b, '$', found)
  return found
}

function collect(a: unknown, b: unknown, path: string, found: Difference[]): void {
  if (found.length >= MAX_DIFFERENCES) return
  if (Array.isArray(a) && Array.isArray(b)) {
    const length = Math.max(a.length, b.length)
    for (let index = 0; index < length && found.length < MAX_DIFFERENCES; index++) {
      collect(a[index], b[index], `${path}[${index}]`, found)
    }
  } else if (isMap(a) && isMap(b)) {
    for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
      collect(ownOf(a, key), ownOf(b, key), `${path}${stepTo(key)}`, found)
    }
  } else if (a !== b && (a === undefined || b === undefined || canonical(a) !== canonical(b))) {
    found.push({
      path,
      ...(a !== undefined && { a: clipped(a) }),
      ...(b !== undefined && { b: clipped(b) }),
    })
  }
}

function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function ownOf(map: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(map, key) ? map[key] : undefined
}

function stepTo(key: string): string {
  if (/^[\p{L}_][\p{L}\p{N}_-]{0,63}$/u.test(key)) return `.${key}`
  return `['${clippedText(key).replace(/[\\']/g, '\\$&')}']`
}

function clipped(value: unknown): string {
  return clippedText(canonical(value))
}

function clippedText(text: string): string {
  return text.length <= MAX_TEXT ? text : `${text.slice(0, MAX_TEXT - 1).replace(/[\ud800-\udbff]$/, '')}…`
}
