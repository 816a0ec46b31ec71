import { canonical } from '../runs/canonical.ts'

/** Where two values begin to differ, and by how much. */
export interface Difference {
  /** `messages[3].content`; '' where they differ as a whole. */
  readonly path: string
  readonly a: unknown
  readonly b: unknown
}

/** The first in order of names, so that it is the same each time; undefined when they are equal. */
export function firstDifference(a: unknown, b: unknown, path = ''): Difference | undefined {
  if (Array.isArray(a) && Array.isArray(b)) {
    for (let at = 0; at < Math.max(a.length, b.length); at++) {
      const found = firstDifference(a[at], b[at], `${path}[${at}]`)
      if (found !== undefined) return found
    }
    return undefined
  }
  if (!isObject(a) || !isObject(b)) return canonical(a) === canonical(b) ? undefined : { path, a, b }
  for (const key of [...new Set([...Object.keys(a), ...Object.keys(b)])].sort()) {
    const found = firstDifference(ownOf(a, key), ownOf(b, key), path === '' ? key : `${path}.${key}`)
    if (found !== undefined) return found
  }
  return undefined
}

const MOST_LEAVES = 20_000

/** 0: equal; 1: nothing in common. Over all leaves of both, texts by the words that they share. */
export function distance(a: unknown, b: unknown): number {
  const [ofA, ofB] = [leavesOf(a), leavesOf(b)]
  const paths = new Set([...ofA.keys(), ...ofB.keys()])
  if (paths.size === 0) return canonical(a) === canonical(b) ? 0 : 1
  let sum = 0
  for (const path of paths) sum += leafDistance(ofA.get(path), ofB.get(path))
  return sum / paths.size
}

/** By the words that two texts share, however they are ordered and spaced. */
export function textDistance(a: string, b: string): number {
  if (a === b) return 0
  const words = wordsOf(a)
  const others = wordsOf(b)
  const counts = new Map<string, number>()
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1)
  let shared = 0
  for (const word of others) {
    const left = counts.get(word) ?? 0
    if (left > 0) shared++
    counts.set(word, left - 1)
  }
  const total = words.length + others.length
  return total === 0 ? 1 : 1 - (2 * shared) / total
}

function wordsOf(text: string): readonly string[] {
  return text.toLowerCase().match(/[\p{L}\p{N}]+/gu) ?? []
}

function leafDistance(a: unknown, b: unknown): number {
  if (typeof a === 'string' && typeof b === 'string') return textDistance(a, b)
  return a === b ? 0 : 1
}

function leavesOf(value: unknown): ReadonlyMap<string, unknown> {
  const leaves = new Map<string, unknown>()
  const visit = (item: unknown, path: string): void => {
    if (leaves.size >= MOST_LEAVES) return
    if (typeof item !== 'object' || item === null) leaves.set(path, item)
    else for (const [key, inner] of Object.entries(item)) visit(inner, `${path}/${key}`)
  }
  visit(value, '')
  return leaves
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function ownOf(object: Readonly<Record<string, unknown>>, key: string): unknown {
  return Object.hasOwn(object, key) ? object[key] : undefined
}
