import { array, assert, constantFrom, property, record, subarray } from 'fast-check'
import { expect, test } from 'vitest'
import { align, FULL, likeness, PARTIAL, type Mark, type Pair } from './align.ts'

const marks = (maxLength: number) =>
  array(
    record({
      group: constantFrom('search', 'book', 'llm'),
      parts: subarray(['x', 'y', 'z']).map((each) => new Set(each)),
    }).map(({ group, parts }): Mark => ({ group, key: [...parts].join(), parts })),
    { maxLength },
  )

interface Worth {
  readonly credit: number
  readonly likeness: number
}

const NOTHING: Worth = { credit: 0, likeness: 0 }

function worthOf(a: Mark, b: Mark): Worth | undefined {
  if (a.group !== b.group) return undefined
  return a.key === b.key
    ? { credit: FULL, likeness: 100 }
    : { credit: PARTIAL, likeness: likeness(a.parts, b.parts) }
}

const plus = (x: Worth, y: Worth): Worth => ({
  credit: x.credit + y.credit,
  likeness: x.likeness + y.likeness,
})
const better = (x: Worth, y: Worth): Worth =>
  x.credit > y.credit || (x.credit === y.credit && x.likeness >= y.likeness) ? x : y

/** Every alignment there is: each step left alone, or paired with each that comes. */
function bruteForce(a: readonly Mark[], b: readonly Mark[]): Worth {
  const [first, ...rest] = a
  if (first === undefined) return NOTHING
  let best = bruteForce(rest, b)
  for (const [j, other] of b.entries()) {
    const worth = worthOf(first, other)
    if (worth !== undefined) best = better(plus(worth, bruteForce(rest, b.slice(j + 1))), best)
  }
  return best
}

function worthOfPairs(a: readonly Mark[], b: readonly Mark[], pairs: readonly Pair[]): Worth {
  return pairs.map(([i, j]) => worthOf(a[i]!, b[j]!)!).reduce(plus, NOTHING)
}

test('is as good as the best of all alignments', () => {
  assert(
    property(marks(6), marks(6), (a, b) => {
      expect(worthOfPairs(a, b, align(a, b))).toEqual(bruteForce(a, b))
    }),
    { numRuns: Number(process.env['FUZZ_COUNT'] ?? 500) },
  )
})

test('pairs rise in both runs, are of one group, and are mirrored when the runs change places', () => {
  assert(
    property(marks(40), marks(40), (a, b) => {
      const pairs = align(a, b)
      for (const [at, [i, j]] of pairs.entries()) {
        expect(a[i]?.group).toBe(b[j]?.group)
        const next = pairs[at + 1]
        if (next !== undefined) expect(i < next[0] && j < next[1]).toBe(true)
      }
      expect(align(b, a).map(([j, i]) => [i, j])).toEqual(pairs)
      expect(align(a, a)).toEqual(a.map((_, index) => [index, index]))
    }),
  )
})

test('refuses what would take gigabytes, and only for what differs', () => {
  const run = (name: string): readonly Mark[] =>
    Array.from({ length: 6000 }, (_, index) => ({
      group: 'g',
      key: `${name}${index}`,
      parts: new Set<string>(),
    }))
  expect(() => align(run('a'), run('b'))).toThrow(expect.objectContaining({ code: 'REQUEST_INVALID' }))
  expect(align(run('a'), run('a'))).toHaveLength(6000)
})
