import { expect, test } from 'vitest'
import { goldenRequests } from './dataset.ts'
import { pairwise } from './pairwise.ts'

test('every pair of values occurs, in far fewer rows than there are combinations', () => {
  const dimensions = { a: [0, 1, 2], b: ['x', 'y'], c: [0, 1, 2, 8], d: [true, false], e: [1, 2, 3, 4, 5] }
  const rows = pairwise(dimensions)
  const names = Object.keys(dimensions) as (keyof typeof dimensions)[]
  for (const one of names)
    for (const other of names)
      for (const value of dimensions[one])
        for (const otherValue of dimensions[other]) {
          if (one === other) continue
          const found = rows.some((row) => row[one] === value && row[other] === otherValue)
          expect(found, `${one}=${String(value)} ${other}=${String(otherValue)}`).toBe(true)
        }
  expect(rows.length).toBeGreaterThanOrEqual(4 * 5)
  expect(rows.length).toBeLessThan(40)
})

test('the same dimensions give the same dataset, with no span id twice', () => {
  const requests = goldenRequests('aa')
  expect(goldenRequests('aa')).toEqual(requests)
  const ids = requests.flatMap(({ spans }) => spans.map(({ traceId, spanId }) => `${traceId} ${spanId}`))
  expect(new Set(ids).size).toBe(ids.length)
  expect(requests.length).toBeGreaterThanOrEqual(7 * 4)
})
