import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { TOKENS } from '../batch/facts.ts'
import { emptyUsage, splitUsage } from './usage.ts'

const count = fc.integer({ min: 0, max: 1_000_000 })
const usages = fc.record(Object.fromEntries(Object.keys(emptyUsage()).map((name) => [name, count])))

test('buckets are disjoint: never negative, their sum is what was read and written', () => {
  fc.assert(
    fc.property(usages, (parts) => {
      const usage = { ...emptyUsage(), ...parts }
      const buckets = new Uint32Array(TOKENS.length)
      splitUsage(usage, buckets, 0)
      // A negative number would have become one near 2^32.
      expect(Math.max(...buckets)).toBeLessThanOrEqual(1_000_000)
      expect(buckets.reduce((sum, bucket) => sum + bucket, 0)).toBe(usage.input + usage.output)
    }),
  )
})

test('audio that may itself have been cached takes what the cache left', () => {
  const buckets = new Uint32Array(TOKENS.length)
  const usage = { ...emptyUsage(), input: 100, cacheRead: 80, audioInput: 50 }
  expect(splitUsage(usage, buckets, 0)).toBe(false)
  expect(Array.from(buckets.subarray(0, 6))).toEqual([0, 80, 0, 0, 20, 0])
})
