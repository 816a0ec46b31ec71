import {
  anything,
  array,
  assert,
  constantFrom,
  jsonValue,
  oneof,
  property,
  record,
  string,
  tuple,
} from 'fast-check'
import { describe, expect, it, test } from 'vitest'
import { parsePath, Pruner } from './json-path.ts'

const prune = (value: unknown, ...texts: readonly string[]): unknown =>
  new Pruner(texts.map((text) => parsePath(text)!)).prune(value)

describe('paths', () => {
  it.each([
    ['$.a', { b: { a: 1 }, c: [1, 2, 3] }],
    ['$.b.a', { a: 0, b: {}, c: [1, 2, 3] }],
    ['$..a', { b: {}, c: [1, 2, 3] }],
    ["$['b']", { a: 0, c: [1, 2, 3] }],
    ['$["b"].*', { a: 0, b: {}, c: [1, 2, 3] }],
    ['$.c[1]', { a: 0, b: { a: 1 }, c: [1, 3] }],
    ['$.c[-1]', { a: 0, b: { a: 1 }, c: [1, 2] }],
    ['$.c[*]', { a: 0, b: { a: 1 }, c: [] }],
    ['$..[0]', { a: 0, b: { a: 1 }, c: [2, 3] }],
    ['$..*', {}],
    ['$.none.at.all', { a: 0, b: { a: 1 }, c: [1, 2, 3] }],
  ])('%s', (path, rest) => {
    const value = { a: 0, b: { a: 1 }, c: [1, 2, 3] }
    expect(prune(value, path)).toEqual(rest)
    expect(value).toEqual({ a: 0, b: { a: 1 }, c: [1, 2, 3] })
  })

  it('take all of their places out at once: an index means what stood there', () => {
    expect(prune([1, 2, 3, 4], '$[0]', '$[1]', '$[-1]')).toEqual([3])
    expect(prune({ a: { b: { a: { b: 1 } } } }, '$..a..a')).toEqual({ a: { b: {} } })
    expect(prune({ "it's": 1, 'x.y': 2, z: 3 }, "$['it\\'s']", '$["x.y"]')).toEqual({ z: 3 })
  })

  it.each([
    '',
    '$',
    'a',
    '$.',
    '$a',
    '$..',
    '$.a[',
    '$[?(@.a)]',
    '$[(1)]',
    '$[0:2]',
    '$[0,1]',
    '$.a^',
    '$.a~',
    '$.`a',
    "$['a'",
  ])('refuses %j', (path) => expect(parsePath(path)).toBeUndefined())

  it('refuses more segments than anybody needs', () => {
    expect(parsePath(`$${'.a'.repeat(32)}`)).toBeDefined()
    expect(parsePath(`$${'.a'.repeat(33)}`)).toBeUndefined()
  })
})

test('any value and any names: what a descendant path leaves has no such member, what it has not named is as it was', () => {
  const names = constantFrom('a', 'b', '__proto__', 'constructor')
  const node = oneof(
    jsonValue(),
    record({ a: jsonValue(), b: array(jsonValue()) }),
    anything({ maxDepth: 0 }),
  )
  const has = (value: unknown, name: string): boolean =>
    typeof value === 'object' &&
    value !== null &&
    (Object.hasOwn(value, name) || Object.values(value).some((item) => has(item, name)))
  assert(
    property(tuple(names, node, node), ([name, x, y]) => {
      const value: unknown = JSON.parse(JSON.stringify({ [name]: x, list: [y, { [name]: y }] }) ?? 'null')
      expect(has(prune(value, `$..${name}`), name)).toBe(false)
      expect(prune(value, '$.nobody')).toBe(value)
    }),
  )
})

test('no text at all breaks the parser', () => {
  assert(
    property(
      string({ unit: constantFrom('$', '.', '*', '[', ']', "'", '"', '\\', 'a', '0', '-', '?', '@', '(') }),
      (text) => {
        const path = parsePath(`$${text}`)
        if (path !== undefined) prune({ a: [{ b: 1 }] }, `$${text}`)
      },
    ),
    { numRuns: 2000 },
  )
})
