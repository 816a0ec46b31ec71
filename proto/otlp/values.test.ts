import { describe, expect, test } from 'vitest'
import { double, join, len, uint } from '../../test/otlp/wire-writer.ts'
import { KeyInterner } from '../intern.ts'
import { Sink } from '../wire.ts'
import { scan } from './scan.ts'
import { ATTR_AT } from './table.ts'
import { type Literal, literalSize, literalText, literalType, valueText, writeLiteral } from './values.ts'

const KEYS = new KeyInterner(10)

/** The text and type of an AnyValue with this content, as the attribute of a span. */
function seen(...value: Uint8Array[]): { type: number; text: string; size: number } {
  const request = len(1, len(2, len(2, len(9, len(1, 'k'), len(2, ...value)))))
  const { attrs } = scan(request, KEYS)
  const type = attrs[ATTR_AT.type]!
  const size = attrs[ATTR_AT.len]!
  return { type, text: valueText(request, type, attrs[ATTR_AT.off]!, size), size }
}

const text = (...value: Uint8Array[]): string => seen(...value).text
const list = (...values: Uint8Array[]): Uint8Array => len(5, ...values.map((value) => len(1, value)))
const map = (...pairs: [string, Uint8Array][]): Uint8Array =>
  len(6, ...pairs.map(([key, value]) => len(1, len(1, key), len(2, value))))

/** The cases of AsString, opentelemetry-collector pdata/pcommon/value.go and its test. */
describe('text', () => {
  test('of scalars', () => {
    expect(text()).toBe('')
    expect(text(len(1, 'a "quoted" <b>'))).toBe('a "quoted" <b>')
    expect(text(len(1, new Uint8Array([0x61, 0xff, 0x62])))).toBe('a\ufffdb')
    expect(text(uint(2, 1))).toBe('true')
    expect(text(uint(2, 0))).toBe('false')
    expect(text(uint(3, 2n ** 63n - 1n))).toBe('9223372036854775807')
    expect(text(uint(3, -(2n ** 63n)))).toBe('-9223372036854775808')
    expect(text(len(7, 'String bytes'))).toBe('U3RyaW5nIGJ5dGVz')
  })

  test.each([
    [1, '1'],
    [1.5, '1.5'],
    [-0, '-0'],
    [1e21, '1e+21'],
    [1e20, '100000000000000000000'],
    [1e-6, '0.000001'],
    [1e-7, '1e-7'],
    [1.7976931348623157e308, '1.7976931348623157e+308'],
    [5e-324, '5e-324'],
    [Number.NaN, 'NaN'],
    [Number.POSITIVE_INFINITY, 'Infinity'],
    [Number.NEGATIVE_INFINITY, '-Infinity'],
  ])('of the double %d', (value, expected) => {
    expect(text(double(4, value))).toBe(expected)
  })

  test('of lists and maps: JSON, keys sorted by bytes, HTML as it is', () => {
    expect(text(list(len(1, '<a> & "b"'), uint(3, 1), double(4, 0.5), uint(2, 1), new Uint8Array(0)))).toBe(
      '["<a> & \\"b\\"",1,0.5,true,null]',
    )
    expect(text(map(['b', uint(3, 1)], ['a', list()], ['é', len(7, 'x')], ['z', len(7)]))).toBe(
      '{"a":[],"b":1,"z":null,"é":"eA=="}',
    )
    expect(text(map(['k', uint(3, 1)], ['k', uint(3, 2)]))).toBe('{"k":2}')
    expect(text(map(['__proto__', map(['a', uint(3, 1)])]))).toBe('{"__proto__":{"a":1}}')
    expect(text(list(len(1, 'a\u2028\u2029\u0000\u001f')))).toBe('["a\\u2028\\u2029\\u0000\\u001f"]')
    expect(text(list())).toBe('[]')
    expect(text(map())).toBe('{}')
  })

  test('of a list that Go cannot write as JSON is empty', () => {
    expect(text(list(double(4, Number.NaN)))).toBe('')
    expect(text(map(['a', double(4, Number.POSITIVE_INFINITY)]))).toBe('')
  })

  test('of a value with several members is that of the last', () => {
    expect(seen(len(1, 'a'), uint(3, 7))).toEqual({ type: 3, text: '7', size: 1 })
    expect(text(list(uint(3, 1)), list(uint(3, 2)))).toBe('[2]')
  })
})

describe('a literal', () => {
  const literals: Literal[] = [
    '',
    'é',
    'x'.repeat(300),
    true,
    false,
    0,
    -0,
    42,
    -1,
    1.5,
    2 ** 53,
    Number.NaN,
    12n,
    ['a', '<b>'],
    [],
  ]

  test.each(literals.map((value) => [String(value), value] as const))(
    '(%s) reads back as what it is',
    (_, value) => {
      const sink = new Sink()
      writeLiteral(sink, value)
      const back = seen(sink.take())
      expect(back.type).toBe(literalType(value))
      expect(back.text).toBe(literalText(value))
    },
  )

  test('has the size of its content', () => {
    expect(literalSize('é')).toBe(2)
    expect(literalSize(300)).toBe(2)
    expect(literalSize(-1)).toBe(10)
    expect(literalSize(1.5)).toBe(8)
    expect(literalSize(true)).toBe(1)
    expect(literalSize(['a'])).toBe(join(list(len(1, 'a'))).length - 2)
  })
})
