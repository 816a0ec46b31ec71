import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { requests } from '../../test/otlp/arbitrary.ts'
import { naiveRows } from '../../test/otlp/naive.ts'
import { expected, META, rowsOf } from '../../test/otlp/rows-of.ts'
import { join } from '../../test/otlp/wire-writer.ts'
import { decodeBatch, decodeJsonBatch } from './otlp-batch.ts'

test('a batch shows what the naive decoder reads', () => {
  fc.assert(
    fc.property(requests(), (bytes) => {
      expect(rowsOf(decodeBatch(bytes, META))).toEqual(expected(naiveRows(bytes)))
    }),
    { numRuns: 300 },
  )
})

test('concatenated requests are one request', () => {
  fc.assert(
    fc.property(requests(), requests(), (first, second) => {
      const rows = [...naiveRows(first), ...naiveRows(second)]
      expect(rowsOf(decodeBatch(join(first, second), META))).toEqual(expected(rows))
    }),
    { numRuns: 50 },
  )
})

test('an unedited batch encodes to the bytes it came from', () => {
  fc.assert(
    fc.property(requests(), (bytes) => {
      expect(Buffer.from(decodeBatch(bytes, META).encode()).equals(bytes)).toBe(true)
    }),
    { numRuns: 50 },
  )
})

test('JSON and back shows the same rows', () => {
  fc.assert(
    fc.property(requests(), (bytes) => {
      const json = decodeBatch(bytes, META).toJson()
      expect(rowsOf(decodeJsonBatch(Buffer.from(json), META))).toEqual(expected(naiveRows(bytes)))
    }),
    { numRuns: 200 },
  )
})
