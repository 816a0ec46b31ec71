import { assert, jsonValue, property } from 'fast-check'
import { expect, test } from 'vitest'
import { canonical, fingerprint, MAX_DEPTH, valueOf } from './canonical.ts'

test('every value of JSON has one form, whatever the order of its keys', () => {
  const shuffled = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(shuffled)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value)
        .reverse()
        .map(([key, item]) => [key, shuffled(item)]),
    )
  }
  assert(
    property(jsonValue(), (value) => {
      expect(canonical(shuffled(value))).toBe(canonical(value))
      expect(fingerprint(shuffled(value))).toBe(fingerprint(value))
      // -0 is 0 in JSON's canonical form.
      expect(JSON.parse(canonical(value))).toEqual(JSON.parse(JSON.stringify(value)))
    }),
  )
})

test('what has no canonical form gets one', () => {
  expect(canonical({ a: Number.POSITIVE_INFINITY, b: ['\ud800x', '😀'], '\udfff': 1 })).toBe(
    canonical({ a: null, b: ['\ufffdx', '😀'], '\ufffd': 1 }),
  )
})

test('only objects, lists and strings are read from text, and only so deep', () => {
  expect(['{"a":1}', ' [1]', '"x"', '42', 'true', '{broken', ''].map(valueOf)).toEqual([
    { a: 1 },
    [1],
    'x',
    '42',
    'true',
    '{broken',
    '',
  ])
  const nested = (depth: number): string => `${'['.repeat(depth)}${']'.repeat(depth)}`
  expect(valueOf(nested(MAX_DEPTH))).not.toBeTypeOf('string')
  expect(valueOf(nested(MAX_DEPTH + 1))).toBe(nested(MAX_DEPTH + 1))
  expect(valueOf(nested(1_000_000))).toBe(nested(1_000_000))
})
