import * as fc from 'fast-check'
import { expect, it } from 'vitest'
import { DAY_MS, type Cutoffs } from '../../../pipeline/retention.ts'
import { judge, type Group } from './judge.ts'

const tenant = fc.constantFrom('a', 'b', 'c', '')
const day = fc.integer({ min: 0, max: 6 })
const group = fc.record({
  part: fc.constantFrom('p1', 'p2', 'p3'),
  tenant,
  day,
  rows: fc.integer({ min: 1, max: 9 }),
  oldestMs: fc.constant(0),
})
const days = fc.record({ a: day, b: day, c: day, '': day })

/** What a table would hold after the drops, and a deletion of the rest by tenant and time. */
function after(groups: readonly Group[], cutoffs: Cutoffs): readonly Group[] {
  const { isWhole, parts } = judge(groups, cutoffs)
  if (isWhole) return []
  const left = groups.filter(({ part }) => !parts.includes(part))
  return left.filter(({ tenant: who, day: at }) => at * DAY_MS >= cutoffs.of(who))
}

it('leaves exactly what is not over its time, by whichever statements', () => {
  fc.assert(
    fc.property(fc.array(group, { minLength: 1, maxLength: 12 }), days, (groups, keep) => {
      const of = (who: string): number => (keep[who as keyof typeof keep] ?? 0) * DAY_MS
      const all = Object.keys(keep).map(of)
      const named = Math.min(...['a', 'b', 'c'].map(of))
      const cutoffs = { of, latestMs: Math.max(...all), earliestMs: named }
      const left = groups.filter(({ tenant: who, day: at }) => (at + 1) * DAY_MS > of(who))
      expect(after(groups, cutoffs)).toEqual(left)
      const { isWhole, expired } = judge(groups, cutoffs)
      expect(expired).toEqual(groups.filter((each) => !left.includes(each)))
      // What may arrive for a tenant of the longest time must not go with its partition.
      if (isWhole) expect(groups.every(({ day: at }) => (at + 1) * DAY_MS <= Math.min(...all))).toBe(true)
    }),
    { numRuns: 500 },
  )
})
