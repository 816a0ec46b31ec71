import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { requests } from '../../test/otlp/arbitrary.ts'
import { apply, edits } from '../../test/otlp/edits.ts'
import { type Attribute, naiveRows } from '../../test/otlp/naive.ts'
import { batchOfJson } from '../../test/contract/exporter.ts'
import type { AttrRange, AttrRef, AttrValue } from './batch.ts'
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

/** What `annotate` makes of attributes whose first has the ref `first`, where it was called on every other ref. */
function annotated(list: readonly Attribute[], { first }: AttrRange): Attribute[] {
  return list.flatMap((one, index) =>
    (first + index) % 2 === 0
      ? [one, { key: `${one.key}.note`, value: [1, 'é'] }, { key: `${one.key}.n`, value: [3, 7n] }]
      : [one],
  )
}

test('annotations stand behind what they are of, in every place and under every key', () => {
  fc.assert(
    fc.property(requests(), fc.boolean(), (bytes, withValues) => {
      const batch = decodeBatch(bytes, META)
      const rows = naiveRows(bytes)
      const notes = new Map<string, AttrValue>([
        ['.note', 'é'],
        ['.n', 7],
      ])
      const seen = new Set<number>()
      const edit = (list: Attribute[], range: AttrRange): Attribute[] => {
        for (let ref = range.first; ref < range.end; ref++) {
          if (ref % 2 !== 0 || seen.has(ref)) continue
          seen.add(ref)
          batch.annotate(ref as AttrRef, new Map([['.void', 1]]))
          batch.annotate(ref as AttrRef, notes)
          if (withValues) batch.setValue(ref as AttrRef, 'short')
        }
        const values = list.map((one, index): Attribute => {
          const isEdited = withValues && (range.first + index) % 2 === 0
          return isEdited ? { key: one.key, value: [1, 'short'] } : one
        })
        return annotated(values, range)
      }
      rows.forEach((model, row) => {
        model.attributes = edit(model.attributes, batch.attrs(row, 'span'))
        model.resourceAttributes = edit(model.resourceAttributes, batch.attrs(row, 'resource'))
        model.scopeAttributes = edit(model.scopeAttributes, batch.attrs(row, 'scope'))
        const [events, links] = [batch.events(row), batch.links(row)]
        model.events.forEach((event, at) => {
          event.attributes = edit(event.attributes, batch.eventAttrs(events.first + at))
        })
        model.links.forEach((link, at) => {
          link.attributes = edit(link.attributes, batch.linkAttrs(links.first + at))
        })
      })
      expect(naiveRows(batch.encode())).toEqual(rows)
      expect(naiveRows(batch.fork().encode())).toEqual(rows)
      expect(naiveRows(rawView(batch).bytes)).toEqual(rows)
    }),
    { numRuns: 100 },
  )
})

test('large values are those of live spans, whatever their place, by the size of now', () => {
  const big = { stringValue: 'x'.repeat(50) }
  const attributes = [{ key: 'big', value: big }]
  const batch = batchOfJson({
    resourceSpans: [
      {
        resource: { attributes },
        scopeSpans: [
          {
            scope: { attributes },
            spans: [
              { attributes: [...attributes, { key: 'small', value: { stringValue: 'x' } }] },
              { attributes, events: [{ attributes }], links: [{ attributes }] },
            ],
          },
        ],
      },
    ],
  })
  const found = () => batch.largeValues(50)
  expect(found()).toHaveLength(6)
  expect(batch.largeValues(51)).toEqual([])
  for (const ref of found()) expect(Buffer.from(batch.content(ref)).toString()).toBe(big.stringValue)
  batch.drop(1, 'sampled')
  expect(found()).toHaveLength(3)
  const [first] = found()
  batch.setValue(first as AttrRef, 'y')
  expect(found()).toHaveLength(2)
  expect(Buffer.from(batch.content(first as AttrRef)).toString()).toBe('y')
  batch.setValue(first as AttrRef, 'z'.repeat(60))
  expect(found()).toHaveLength(3)
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
