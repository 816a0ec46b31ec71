/**
 * The part of JSONPath (RFC 9535) that names places: `$`, `.name`, `['name']`, `[0]`, `[-1]`, `.*`, `[*]`, and each of them
 * below any depth with `..`. Filters, scripts, slices and unions are left out: with expressions switched off, which data
 * of strangers demands (CVE-2024-21534 and CVE-2025-1302 ran code through a library's filters), places are what is left of
 * a library, and all of them together are removed here in one walk over the value.
 */
export interface JsonPath {
  readonly text: string
  readonly segments: readonly Segment[]
}

interface Segment {
  /** At any depth below. */
  readonly deep: boolean
  /** Undefined: every member. */
  readonly member: string | number | undefined
}

const MAX_SEGMENTS = 32
const TOKEN =
  /(\.\.|\.)(?:(\*)|([\p{L}_][\p{L}\p{N}_-]*))|(\.\.)?\[(?:(\*)|(-?\d{1,9})|'((?:[^'\\]|\\['\\])*)'|"((?:[^"\\]|\\["\\])*)")\]/uy

/** Undefined for what is not such a path. `$` alone names the whole value and removes nothing: it is refused, too. */
export function parsePath(text: string): JsonPath | undefined {
  if (!text.startsWith('$')) return undefined
  const segments: Segment[] = []
  for (let at = 1; at < text.length; at = TOKEN.lastIndex) {
    TOKEN.lastIndex = at
    const match = TOKEN.exec(text)
    if (match === null || segments.length === MAX_SEGMENTS) return undefined
    const [, dots, , name, deep, , index, single, double] = match
    const quoted = (single ?? double)?.replace(/\\(.)/g, '$1')
    const member = name ?? quoted ?? (index === undefined ? undefined : Number(index))
    segments.push({ deep: dots === '..' || deep === '..', member })
  }
  return segments.length === 0 ? undefined : { text, segments }
}

/** How far a walk is in a path: the segment that members are held against next. */
interface State {
  readonly path: JsonPath
  readonly at: number
}

/** Takes out of values what its paths name. Values are copied where something is taken, and else shared. */
export class Pruner {
  readonly #start: readonly State[]

  constructor(paths: readonly JsonPath[]) {
    this.#start = paths.map((path) => ({ path, at: 0 }))
  }

  prune(value: unknown): unknown {
    return walk(value, this.#start)
  }
}

/** Depth is bounded by whoever read the value. */
function walk(value: unknown, states: readonly State[]): unknown {
  if (states.length === 0 || typeof value !== 'object' || value === null) return value
  if (Array.isArray(value)) return walkList(value, states)
  let hasChanged = false
  const kept: [string, unknown][] = []
  for (const [key, item] of Object.entries(value)) {
    const next = step(states, key, undefined)
    const walked = next === undefined ? undefined : walk(item, next)
    hasChanged ||= next === undefined || walked !== item
    if (next !== undefined) kept.push([key, walked])
  }
  return hasChanged ? Object.fromEntries(kept) : value
}

function walkList(list: readonly unknown[], states: readonly State[]): unknown {
  const kept: unknown[] = []
  for (const [index, item] of list.entries()) {
    const next = step(states, index, list.length)
    if (next !== undefined) kept.push(walk(item, next))
  }
  return kept.length === list.length && kept.every((item, index) => item === list[index]) ? list : kept
}

/** The states below a member; undefined: it is taken out. */
function step(
  states: readonly State[],
  member: string | number,
  length: number | undefined,
): readonly State[] | undefined {
  const next: State[] = []
  for (const state of states) {
    const { path, at } = state
    const segment = path.segments[at]
    if (segment === undefined) continue
    if (segment.deep && !next.includes(state)) next.push(state)
    if (!names(segment, member, length)) continue
    if (at + 1 === path.segments.length) return undefined
    if (!next.some((other) => other.path === path && other.at === at + 1)) next.push({ path, at: at + 1 })
  }
  return next
}

function names({ member: wanted }: Segment, member: string | number, length: number | undefined): boolean {
  if (wanted === undefined || wanted === member) return true
  return typeof wanted === 'number' && wanted < 0 && length !== undefined && wanted + length === member
}
