import { reject } from '../../fault.ts'

/** What of a step an alignment sees. */
export interface Mark {
  /** Steps of other groups are never each other's counterpart: a tool's name, a kind. */
  readonly group: string
  /** Equal keys of a group: the same step. */
  readonly key: string
  /** Members of what it was given, to tell the nearer of two counterparts. */
  readonly parts: ReadonlySet<string>
}

/** Indexes of counterparts; rising in both. */
export type Pair = readonly [a: number, b: number]

/** A full counterpart, and one of the same group with another key. The unit is half a step. */
export const FULL = 2
export const PARTIAL = 1

/** Likeness decides between alignments of equal credit, and never against credit: it sums up to less than one UNIT. */
const UNIT = 4_000_000
const MAX_LIKENESS = 100
const MAX_LIKENESS_CELLS = 1_000_000
const MAX_CELLS = 25_000_000

/**
 * The global alignment (Needleman–Wunsch) with the most credit: FULL for an equal key, PARTIAL for an equal group, nothing
 * for a step that is left alone; among those the one of the most alike counterparts. Time and memory grow with the
 * product of the lengths, less what both begin and end with. Rejects with REQUEST_INVALID what is over the bound.
 */
export function align(a: readonly Mark[], b: readonly Mark[]): readonly Pair[] {
  // With counterparts of equal credit the order of the arguments would decide: give them one.
  return isBefore(b, a) ? inOrder(b, a).map(([i, j]) => [j, i] as const) : inOrder(a, b)
}

function inOrder(a: readonly Mark[], b: readonly Mark[]): readonly Pair[] {
  const shorter = Math.min(a.length, b.length)
  let head = 0
  while (head < shorter && isSame(a[head], b[head])) head++
  let tail = 0
  while (tail < shorter - head && isSame(a[a.length - 1 - tail], b[b.length - 1 - tail])) tail++
  const pairs: Pair[] = []
  for (let i = 0; i < head; i++) pairs.push([i, i])
  const inner = table(a.slice(head, a.length - tail), b.slice(head, b.length - tail))
  for (const [i, j] of inner) pairs.push([i + head, j + head])
  for (let i = tail; i > 0; i--) pairs.push([a.length - i, b.length - i])
  return pairs
}

const SKIP_A = 1
const SKIP_B = 2

/** Row by row; of the whole table only the direction of each cell is kept. */
function table(a: readonly Mark[], b: readonly Mark[]): readonly Pair[] {
  const cells = a.length * b.length
  if (cells === 0) return []
  if (cells > MAX_CELLS) {
    throw reject(
      'REQUEST_INVALID',
      `the runs are too long to be compared: ${a.length} and ${b.length} steps differ, their product may be ${MAX_CELLS}`,
    )
  }
  const score = scorer(cells <= MAX_LIKENESS_CELLS)
  const width = b.length + 1
  const directions = new Uint8Array((a.length + 1) * width)
  let above = new Float64Array(width)
  let row = new Float64Array(width)
  for (let i = 1; i <= a.length; i++) {
    for (let j = 1; j <= b.length; j++) {
      const gain = score(a[i - 1], b[j - 1])
      const paired = gain === 0 ? -1 : (above[j - 1] ?? 0) + gain
      const skipA = above[j] ?? 0
      const skipB = row[j - 1] ?? 0
      const best = Math.max(paired, skipA, skipB)
      row[j] = best
      directions[i * width + j] = best === paired ? 0 : best === skipA ? SKIP_A : SKIP_B
    }
    ;[above, row] = [row, above]
  }
  return walkBack(directions, a.length, b.length)
}

function walkBack(directions: Uint8Array, fromA: number, fromB: number): readonly Pair[] {
  const pairs: Pair[] = []
  for (let i = fromA, j = fromB; i > 0 && j > 0;) {
    const direction = directions[i * (fromB + 1) + j]
    if (direction === 0) pairs.push([--i, --j])
    else if (direction === SKIP_A) i--
    else j--
  }
  return pairs.reverse()
}

function scorer(byLikeness: boolean): (a: Mark | undefined, b: Mark | undefined) => number {
  return (a, b) => {
    if (a === undefined || b === undefined || a.group !== b.group) return 0
    if (a.key === b.key) return FULL * UNIT + MAX_LIKENESS
    return PARTIAL * UNIT + (byLikeness ? likeness(a.parts, b.parts) : 0)
  }
}

/** Dice's coefficient of the members, in hundredths. */
export function likeness(a: ReadonlySet<string>, b: ReadonlySet<string>): number {
  const sum = a.size + b.size
  if (sum === 0) return 0
  let shared = 0
  for (const part of a) if (b.has(part)) shared++
  return Math.floor((2 * shared * MAX_LIKENESS) / sum)
}

function isSame(a: Mark | undefined, b: Mark | undefined): boolean {
  return a !== undefined && b !== undefined && a.group === b.group && a.key === b.key
}

/** A total order of sequences by what they hold. */
function isBefore(a: readonly Mark[], b: readonly Mark[]): boolean {
  if (a.length !== b.length) return a.length < b.length
  for (const [index, mark] of a.entries()) {
    const other = b[index]
    if (other === undefined || isSame(mark, other)) continue
    return mark.group === other.group ? mark.key < other.key : mark.group < other.group
  }
  return false
}
