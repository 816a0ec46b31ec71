import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { requests } from '../../test/otlp/arbitrary.ts'
import { apply, edits } from '../../test/otlp/edits.ts'
import { naiveRows } from '../../test/otlp/naive.ts'
import { expected, META, rowsOf } from '../../test/otlp/rows-of.ts'
import { decodeBatch } from './otlp-batch.ts'
import { rawView } from './raw.ts'

test('edits and drops are in the encoding, and nothing else is', () => {
  fc.assert(
    fc.property(requests(), edits, (bytes, list) => {
      const batch = decodeBatch(bytes, META)
      const model = apply(batch, naiveRows(bytes), list)
      expect(batch.live).toBe(model.length)
      expect(naiveRows(batch.encode())).toEqual(model)
      expect(rowsOf(decodeBatch(batch.encode(), META))).toEqual(expected(model))
    }),
    { numRuns: 300 },
  )
})

test('edits show in the batch itself', () => {
  fc.assert(
    fc.property(requests(), edits, (bytes, list) => {
      const batch = decodeBatch(bytes, META)
      // Additions and removals are not in the ranges; everything else must show.
      const model = apply(
        batch,
        naiveRows(bytes),
        list.filter((edit) => edit.op !== 'set' && edit.op !== 'remove'),
      )
      expect(rowsOf(batch)).toEqual(expected(model))
    }),
    { numRuns: 100 },
  )
})

test('the raw view is the edited batch, row by row', () => {
  fc.assert(
    fc.property(requests(), edits, (bytes, list) => {
      const batch = decodeBatch(bytes, META)
      const model = apply(batch, naiveRows(bytes), list)
      const raw = rawView(batch)
      expect(naiveRows(raw.bytes)).toEqual(model)
      expect(raw.table.rows).toBe(model.length)
      const rows = raw.rows === undefined ? [...Array(batch.rows).keys()] : [...raw.rows]
      expect(rows).toEqual([...Array(batch.rows).keys()].filter((row) => batch.isLive(row)))
    }),
    { numRuns: 100 },
  )
})

test('a selection is those rows, with their edits', () => {
  fc.assert(
    fc.property(requests(), edits, fc.array(fc.nat(20)), (bytes, list, wanted) => {
      const batch = decodeBatch(bytes, META)
      apply(batch, naiveRows(bytes), list)
      const rows = wanted.filter((row) => row < batch.rows)
      const picked = [...new Set(rows)].filter((row) => batch.isLive(row)).sort((a, b) => a - b)
      const whole = naiveRows(batch.encode())
      const live = [...Array(batch.rows).keys()].filter((row) => batch.isLive(row))
      const part = batch.select(rows)
      expect(naiveRows(part.encode())).toEqual(picked.map((row) => whole[live.indexOf(row)]))
      expect(part.rows).toBe(picked.length)
    }),
    { numRuns: 100 },
  )
})

test('parts are as large as the limit allows, never larger, and together the batch', () => {
  fc.assert(
    fc.property(requests(), edits, fc.double({ min: 0.05, max: 1, noNaN: true }), (bytes, list, share) => {
      const batch = decodeBatch(bytes, META)
      const model = apply(batch, naiveRows(bytes), list)
      const alone = [...Array(batch.rows).keys()].map((row) => batch.select([row]).encode().length)
      const limit = Math.max(...alone, Math.floor(batch.encode().length * share))
      const parts = batch.split(limit)
      expect(parts.flatMap((part) => naiveRows(part.encode()))).toEqual(model)
      for (const part of parts) expect(part.encode().length).toBeLessThanOrEqual(limit)
      const live = [...Array(batch.rows).keys()].filter((row) => batch.isLive(row))
      let first = 0
      for (const part of parts.slice(0, -1)) {
        const more = live.slice(first, first + part.rows + 1)
        expect(batch.select(more).encode().length).toBeGreaterThan(limit)
        first += part.rows
      }
    }),
    { numRuns: 100 },
  )
})

test('a fork and its origin do not see each other', () => {
  fc.assert(
    fc.property(requests(), edits, edits, edits, (bytes, before, inFork, inOrigin) => {
      const origin = decodeBatch(bytes, META)
      const modelOfOrigin = naiveRows(bytes)
      const dropsBefore = before.filter((edit) => edit.op !== 'drop')
      apply(origin, modelOfOrigin, dropsBefore)
      const fork = origin.fork()
      const modelOfFork = structuredClone(modelOfOrigin)
      expect(naiveRows(fork.encode())).toEqual(modelOfFork)
      const liveInFork = apply(fork, modelOfFork, inFork)
      const liveInOrigin = apply(origin, modelOfOrigin, inOrigin)
      expect(naiveRows(fork.encode())).toEqual(liveInFork)
      expect(naiveRows(origin.encode())).toEqual(liveInOrigin)
    }),
    { numRuns: 100 },
  )
})
