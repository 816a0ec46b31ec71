/** Named dimensions, each with its values. */
type Dimensions = Readonly<Record<string, readonly unknown[]>>

export type Combination<D extends Dimensions> = { readonly [K in keyof D]: D[K][number] }

/**
 * Combinations in which every pair of values of two dimensions occurs at least once. Greedy and without randomness:
 * the same dimensions give the same rows.
 */
export function pairwise<D extends Dimensions>(dimensions: D): Combination<D>[] {
  const names = Object.keys(dimensions)
  const sizes = names.map((name) => (dimensions[name] ?? []).length)
  const open = allPairs(sizes)
  const rows: number[][] = []
  while (open.size > 0) rows.push(bestRow(sizes, open))
  return rows.map(
    (row) =>
      Object.fromEntries(names.map((name, i) => [name, dimensions[name]?.[row[i] ?? 0]])) as Combination<D>,
  )
}

function pairKey(a: number, valueA: number, b: number, valueB: number): string {
  return a < b ? `${a}:${valueA}|${b}:${valueB}` : `${b}:${valueB}|${a}:${valueA}`
}

function allPairs(sizes: readonly number[]): Set<string> {
  const pairs = new Set<string>()
  for (const [a, sizeA] of sizes.entries())
    for (let b = a + 1; b < sizes.length; b++)
      for (let i = 0; i < sizeA; i++) for (let j = 0; j < (sizes[b] ?? 0); j++) pairs.add(pairKey(a, i, b, j))
  return pairs
}

/** Starts from the first open pair and gives every other dimension the value that closes most. */
function bestRow(sizes: readonly number[], open: Set<string>): number[] {
  const [first = ''] = open
  const [, a = '0', i = '0', b = '0', j = '0'] = /^(\d+):(\d+)\|(\d+):(\d+)$/.exec(first) ?? []
  const chosen = new Map([
    [Number(a), Number(i)],
    [Number(b), Number(j)],
  ])
  for (let dimension = 0; dimension < sizes.length; dimension++) {
    if (!chosen.has(dimension))
      chosen.set(dimension, bestValue(dimension, sizes[dimension] ?? 0, chosen, open))
  }
  for (const [one, value] of chosen)
    for (const [other, otherValue] of chosen)
      if (one < other) open.delete(pairKey(one, value, other, otherValue))
  return sizes.map((_, dimension) => chosen.get(dimension) ?? 0)
}

function bestValue(
  dimension: number,
  size: number,
  chosen: ReadonlyMap<number, number>,
  open: ReadonlySet<string>,
): number {
  let best = 0
  let most = -1
  for (let value = 0; value < size; value++) {
    let closes = 0
    for (const [other, otherValue] of chosen)
      if (open.has(pairKey(dimension, value, other, otherValue))) closes++
    if (closes > most) [best, most] = [value, closes]
  }
  return best
}
