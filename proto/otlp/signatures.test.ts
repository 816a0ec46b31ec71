import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { double, join, len, uint } from '../../test/otlp/wire-writer.ts'
import { KeyInterner } from '../intern.ts'
import { markKeys, scan } from './scan.ts'
import { halfOf, MARK, SIGNATURE, SignatureIds } from './signatures.ts'
import { ATTR_AT, SPAN } from './table.ts'

const KEYS = new KeyInterner(100)
const NAMES = { number: ['n1', 'n2'], word: ['w1', 'w2'], other: ['o1', 'o2'], none: ['x', 'y'] } as const
type Kind = keyof typeof NAMES
const KIND = new Map<string, Kind>(
  Object.entries(NAMES).flatMap(([kind, names]) => names.map((name): [string, Kind] => [name, kind as Kind])),
)
const marks = new Uint32Array(50)
for (const [name, kind] of KIND) if (kind !== 'none') marks[KEYS.id(name)] = (KEYS.id(name) << 2) | MARK[kind]
markKeys(KEYS, marks)

type Value = string | number | bigint | boolean | Uint8Array | readonly never[] | null
interface Attribute {
  readonly key: string
  readonly value: Value
}

function encoded(value: Value): Uint8Array {
  if (value === null) return new Uint8Array(0)
  if (typeof value === 'string') return len(1, value)
  if (typeof value === 'boolean') return uint(2, value ? 1 : 0)
  if (typeof value === 'bigint') return uint(3, BigInt.asUintN(64, value))
  if (typeof value === 'number') return double(4, value)
  return value instanceof Uint8Array ? len(7, value) : len(5)
}

function isRange(value: number | bigint): boolean {
  return value >= 0 && value <= 0xffff_ffff
}

/** Whether it counts; undefined: nobody can tell without reading texts as numbers. */
function counts({ key, value }: Attribute): boolean | undefined {
  const kind = KIND.get(key)
  if (kind === 'none' || value === null) return false
  if (kind !== 'number')
    return !(typeof value === 'string' || value instanceof Uint8Array) || value.length > 0
  if (typeof value === 'string' && value !== '')
    return /^\d{1,18}$/.test(value) ? isRange(BigInt(value)) : undefined
  return (typeof value === 'number' || typeof value === 'bigint') && isRange(value)
}

/** What the span is told apart by, spelled out; undefined: by nothing. */
function described(attributes: readonly Attribute[]): string | undefined {
  if (attributes.some((attribute) => counts(attribute) === undefined)) return undefined
  const counted = attributes.filter(counts)
  const words = counted.filter(({ key }) => KIND.get(key) === 'word').map(({ value }) => encoded(value))
  if (words.some((word) => word.length > 64)) return undefined
  const sources = counted.map(({ key, value }) => `${key}:${encoded(value)[0]! >> 3}`)
  return JSON.stringify([sources, words.map((word) => [...word])])
}

const value = fc.oneof(
  fc.constantFrom<Value>(
    '',
    'a',
    'b',
    'openai',
    '12',
    '9999999999',
    '1e3',
    'x'.repeat(50),
    'x'.repeat(70),
    null,
    [],
  ),
  fc.constantFrom<Value>(0n, 5n, 300n, -1n, 0xffff_ffffn, 0x1_0000_0000n, -(2n ** 63n), 2n ** 63n - 1n),
  fc.constantFrom<Value>(0.5, -0.5, Number.NaN, 1e20, true, false, new Uint8Array(0), Uint8Array.of(1)),
)
const span = fc.array(fc.record({ key: fc.constantFrom(...KIND.keys()), value }), { maxLength: 6 })

function scanned(spans: readonly (readonly Attribute[])[]) {
  const messages = spans.map((attributes) =>
    len(2, ...attributes.map(({ key, value }) => len(9, len(1, key), len(2, encoded(value))))),
  )
  return scan(len(1, len(2, join(...messages))), KEYS)
}

test('spans have one id only when their marked attributes are alike, and mostly then', () => {
  const ids = new Map<number, string>()
  const met = new Map<string, number>()
  let [same, other] = [0, 0]
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, maxLength: 8 }), (spans) => {
      const { signatures } = scanned(spans)
      spans.forEach((attributes, row) => {
        const id = signatures[row * SIGNATURE.width + SIGNATURE.id]!
        const description = described(attributes)
        expect(id === 0).toBe(description === undefined)
        if (description === undefined) return
        expect(ids.get(id) ?? description).toBe(description)
        if (met.get(description) === id) same++
        else if (met.has(description)) other++
        ids.set(id, description)
        met.set(description, id)
      })
    }),
    { numRuns: Number(process.env['FUZZ_COUNT'] ?? 500) },
  )
  // Some are forgotten for others.
  expect(same).toBeGreaterThan(other * 3)
})

test('an int is at hand itself, of any other value where it is', () => {
  fc.assert(
    fc.property(fc.array(span, { minLength: 1, maxLength: 8 }), (spans) => {
      const table = scanned(spans)
      spans.forEach((attributes, row) => {
        if (described(attributes) === undefined) return
        const first = table.signatures[row * SIGNATURE.width + SIGNATURE.first]!
        const firstAttr = table.spans[row * SPAN.width + SPAN.firstAttr]!
        const wanted = attributes.flatMap((attribute, place) => {
          if (counts(attribute) !== true) return []
          const isInt = KIND.get(attribute.key) === 'number' && typeof attribute.value === 'bigint'
          return [isInt ? Number(attribute.value) : firstAttr + place]
        })
        expect([...table.marked.subarray(first, first + wanted.length)].map((found) => found >>> 0)).toEqual(
          wanted,
        )
      })
    }),
  )
})

test.each([0, 1])('a word that is written like another behind it is one word: %i', (size) => {
  const source = (marks[KEYS.id('w2')]! << 3) | 7
  const forged = Uint8Array.of(97, source & 255, source >> 8, 0, 0, size, 0, 0, 0, 98)
  const { signatures } = scanned([
    [{ key: 'w1', value: forged }],
    [
      { key: 'w1', value: Uint8Array.of(97) },
      { key: 'w2', value: Uint8Array.of(98) },
    ],
  ])
  expect(signatures[SIGNATURE.id]).not.toBe(signatures[SIGNATURE.width + SIGNATURE.id])
})

test('more to tell apart than is compared is told apart by nothing', () => {
  const many = Array.from({ length: 200 }, (): Attribute => ({ key: 'o1', value: 'a' }))
  const { signatures } = scanned([many, [{ key: 'w1', value: 'a' }]])
  expect(signatures[SIGNATURE.id]).toBe(0)
  expect(signatures[SIGNATURE.width + SIGNATURE.id]).toBeGreaterThan(0)
})

test('without marks there are none', () => {
  const table = scan(len(1, len(2, len(2, len(9, len(1, 'w1'), len(2, len(1, 'a')))))), new KeyInterner(10))
  expect([table.rows, table.signatures.length, table.marked.length]).toEqual([1, 0, 0])
  expect(table.attrs[ATTR_AT.type]).toBe(1)
})

test('ids begin anew after the last, never with 0, and tell when those before them must be forgotten', () => {
  const ids = new SignatureIds(2 ** 31 - 2)
  expect([ids.next(), ids.next(), ids.next()]).toEqual([2 ** 31 - 1, 1, 2])
  expect([0, 1, 2 ** 30 - 1, 2 ** 30, 2 ** 31 - 1].map(halfOf)).toEqual([0, 0, 0, 1, 1])
  expect(ids.half).toBe(0)
})
