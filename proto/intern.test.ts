import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { KeyInterner } from './intern.ts'

function viewOf(text: string, before = 3): [DataView, number, number] {
  const utf8 = new TextEncoder().encode(text)
  const bytes = new Uint8Array(before + utf8.length)
  bytes.set(utf8, before)
  return [new DataView(bytes.buffer), before, utf8.length]
}

test('a key has one id, whether code or a scan met it first', () => {
  fc.assert(
    fc.property(
      fc.uniqueArray(fc.string({ unit: 'grapheme', maxLength: 40 }), { maxLength: 300 }),
      (names) => {
        const keys = new KeyInterner(1000)
        const ids = names.map((name, index) => (index % 2 === 0 ? keys.id(name) : keys.find(...viewOf(name))))
        expect(new Set(ids).size).toBe(names.length)
        for (const [index, name] of names.entries()) {
          expect(keys.id(name)).toBe(ids[index])
          expect(keys.find(...viewOf(name, index % 5))).toBe(ids[index])
          expect(keys.name(ids[index]!)).toBe(name)
          expect(Buffer.from(keys.bytes(ids[index]!)).toString()).toBe(name)
          expect(keys.is(ids[index]!, ...viewOf(name))).toBe(true)
          expect(keys.is(ids[index]!, ...viewOf(`${name}x`))).toBe(false)
        }
      },
    ),
    { numRuns: 30 },
  )
})

test('scans stop adding at the limit, code does not', () => {
  const keys = new KeyInterner(10)
  for (let i = 0; i < 100; i++) keys.find(...viewOf(`scanned.${i}`))
  expect(keys.count).toBe(10)
  expect(keys.find(...viewOf('scanned.99'))).toBe(0)
  const ids = Array.from({ length: 500 }, (_, i) => keys.id(`known.${i}`))
  expect(new Set(ids).size).toBe(500)
  for (let i = 0; i < 500; i++) expect(keys.name(keys.id(`known.${i}`))).toBe(`known.${i}`)
})

test('ids that were never given have no name', () => {
  const keys = new KeyInterner(10)
  expect(keys.name(0)).toBe('')
  expect(keys.name(77)).toBe('')
  expect(keys.bytes(77).length).toBe(0)
  expect(keys.is(77, ...viewOf('a'))).toBe(false)
})
