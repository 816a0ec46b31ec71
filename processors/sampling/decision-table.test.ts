import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DecisionTable } from './decision-table.ts'

const key = (n: number) => String.fromCharCode(n & 3, 1, 2, n >> 2, 4, 5, 6, 7)

describe('the table of decisions', () => {
  it('knows the newest of each trace among the last ones, and the first since a number, as a list does', () => {
    const adds = fc.array(fc.tuple(fc.nat(60), fc.constantFrom(0, 1, 2.5)), { maxLength: 400 })
    fc.assert(
      fc.property(
        adds,
        fc.integer({ min: 1, max: 50 }),
        fc.nat(1000),
        fc.nat(60),
        (list, most, first, back) => {
          const table = new DecisionTable(most, first)
          const model: [number, number][] = []
          for (const [n, weight] of list) {
            table.add(key(n), { weight, share: 1, isConsistent: false })
            model.push([n, weight])
          }
          expect(table.end).toBe(first + list.length)
          const from = Math.max(0, model.length - Math.min(most, back))
          for (let n = 0; n <= 60; n++) {
            const oldest = Math.max(0, model.length - most)
            const newest = model.findLastIndex(([one], at) => one === n && at >= oldest)
            expect(table.newest(key(n))?.weight).toBe(model[newest]?.[1])
            const since = model.find(([one], at) => one === n && at >= Math.max(from, oldest))
            expect(table.firstSince(key(n), first + from)?.weight).toBe(since?.[1])
          }
        },
      ),
    )
  })

  it('grows past its first size and keeps what it holds', () => {
    const table = new DecisionTable(5000)
    for (let n = 0; n < 7000; n++) table.add(key(n), { weight: n, share: 1, isConsistent: n % 2 === 0 })
    expect(table.newest(key(1999))).toBeUndefined()
    for (let n = 2000; n < 7000; n++) {
      expect(table.newest(key(n))).toEqual({ weight: n, share: 1, isConsistent: n % 2 === 0 })
    }
  })
})
