import { expect, test } from 'vitest'
import { alikeOf, remember } from './alike.ts'
import { Shape } from './shape.ts'

const SHAPE = new Shape(new Int32Array(0))
const HALF = 2 ** 30

test('knows spans of an id until ids of the other half come: those of the first may come again for others', () => {
  const first = remember(5, SHAPE)
  expect(alikeOf(5)).toBe(first)
  expect(alikeOf(5 + 4096)).toBeUndefined()
  expect(alikeOf(HALF + 7)).toBeUndefined()
  expect(alikeOf(5)).toBeUndefined()
  remember(6, SHAPE)
  remember(HALF + 7, SHAPE)
  expect(alikeOf(6)).toBeUndefined()
})
