import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { cut } from './slices.ts'

const MAX = 50_000

test('slices follow each other without a gap, hold whole seconds, and fit into memory', () => {
  const seconds = fc
    .uniqueArray(fc.integer({ min: 10, max: 10_000 }), { minLength: 1, maxLength: 60 })
    .map((list) => list.toSorted((a, b) => a - b))
    .chain((list) =>
      fc.tuple(...list.map((second) => fc.tuple(fc.constant(second), fc.integer({ min: 1, max: 3 * MAX })))),
    )
  fc.assert(
    fc.property(seconds, (calls) => {
      const slices = [...cut(calls, 5000, 10_001_000)]
      const ends = slices.filter(({ part, parts }) => part + 1 === parts)
      expect(slices[0]?.fromMs).toBe(5000)
      expect(ends.at(-1)?.toMs).toBe(10_001_000)
      for (const [index, slice] of ends.entries()) {
        if (index > 0) expect(slice.fromMs).toBe(ends[index - 1]?.toMs)
        const inside = calls.filter(([second]) => second * 1000 >= slice.fromMs && second * 1000 < slice.toMs)
        const sum = inside.reduce((total, [, count]) => total + count, 0)
        expect(sum / slice.parts).toBeLessThanOrEqual(MAX)
        if (slice.parts > 1) expect(inside.length).toBe(1)
      }
      const parts = slices.map(({ part, parts: of }) => part < of)
      expect(parts.every(Boolean)).toBe(true)
    }),
  )
})

test('nothing to read, nothing to cut', () => {
  expect([...cut([], 0, 1000)]).toEqual([])
})
