import * as fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { requests } from '../../test/otlp/arbitrary.ts'
import { double, fixed32, fixed64, join, len, uint, varint } from '../../test/otlp/wire-writer.ts'
import { KeyInterner } from '../intern.ts'
import { WireError } from '../wire.ts'
import { scan } from './scan.ts'
import { ATTR_AT, SPAN } from './table.ts'

const KEYS = new KeyInterner(100)

/** A request of one span with these fields. */
const span = (...fields: Uint8Array[]): Uint8Array => len(1, len(2, len(2, ...fields)))
const bytes = (...values: number[]): Uint8Array => Uint8Array.from(values)
const keyValue = (key: string, ...value: Uint8Array[]): Uint8Array => len(9, len(1, key), len(2, ...value))

function errorOf(request: Uint8Array): string {
  try {
    scan(request, KEYS)
  } catch (error) {
    expect(error).toBeInstanceOf(WireError)
    return (error as WireError).message
  }
  return 'none'
}

describe('refused, with the offset', () => {
  test.each<[string, Uint8Array, string]>([
    ['a cut tag', bytes(0x8a), 'the message ends inside a varint at byte 0'],
    ['a length with no content', bytes(0x0a), 'the message ends inside a varint at byte 1'],
    [
      'a length past the end',
      bytes(0x0a, 5, 0x12),
      'a length of 5 runs past the end of its message at byte 1',
    ],
    [
      'a length of 2^63',
      join(bytes(0x0a), bytes(...varint(2n ** 63n))),
      'a length of 9223372036854776000 runs past the end of its message at byte 1',
    ],
    [
      'a child longer than its parent',
      bytes(0x0a, 2, 0x12, 9),
      'a length of 9 runs past the end of its message at byte 3',
    ],
    ['field number 0', bytes(0x02, 0), 'a field number is 0 at byte 0'],
    ['field number 0 in two bytes', bytes(0x82, 0, 0), 'a field number is 0 at byte 0'],
    [
      'a field number over 2^29',
      join(bytes(...varint(2n ** 33n)), bytes(0)),
      'a field number is too large at byte 0',
    ],
    ['a group start', bytes(0xa3, 1), 'wire type 3 is not one that OTLP uses at byte 0'],
    ['a group end', bytes(0xa4, 1), 'wire type 4 is not one that OTLP uses at byte 0'],
    ['wire type 6', bytes(0xa6, 1), 'wire type 6 is not one that OTLP uses at byte 0'],
    ['resource_spans as a varint', uint(1, 5), 'field 1 has wire type 0, which it never has at byte 0'],
    ['a name as a varint', span(uint(5, 1)), 'field 5 has wire type 0, which it never has at byte 6'],
    ['a kind as bytes', span(len(6, 'x')), 'field 6 has wire type 2, which it never has at byte 6'],
    ['a start time as a varint', span(uint(7, 1)), 'field 7 has wire type 0, which it never has at byte 6'],
    ['a start time as 4 bytes', span(fixed32(7, 1)), 'field 7 has wire type 5, which it never has at byte 6'],
    [
      'a dropped count as bytes',
      span(len(10, 'x')),
      'field 10 has wire type 2, which it never has at byte 6',
    ],
    ['flags as a varint', span(uint(16, 1)), 'field 16 has wire type 0, which it never has at byte 6'],
    [
      'an int value as 8 bytes',
      span(keyValue('k', fixed64(3, 1n))),
      'field 3 has wire type 1, which it never has at byte 13',
    ],
    [
      'a varint of 11 bytes',
      span(bytes(0x30, ...Array<number>(10).fill(0xff), 1)),
      'a varint is longer than 10 bytes at byte 7',
    ],
    [
      'a time cut short',
      len(1, len(2, len(2, bytes(0x39, 1, 2, 3)))),
      'the message ends inside a value of 8 bytes at byte 7',
    ],
    [
      'an unknown fixed32 cut short',
      bytes(0xa5, 1, 1, 2),
      'the message ends inside a value of 4 bytes at byte 2',
    ],
    [
      'a double cut short',
      span(keyValue('k', bytes(0x21, 1, 2))),
      'the message ends inside a value of 8 bytes at byte 14',
    ],
    [
      'an entity of a resource',
      len(1, len(1, len(3, uint(3, 1)))),
      'field 3 has wire type 0, which it never has at byte 6',
    ],
    ['a trace id of 8 bytes', span(len(1, '12345678')), 'an id is 8 bytes long, not 16 at byte 7'],
    ['a span id of 16 bytes', span(len(2, '1234567812345678')), 'an id is 16 bytes long, not 8 at byte 7'],
    ['a parent id of 1 byte', span(len(4, '1')), 'an id is 1 bytes long, not 8 at byte 7'],
    ['a trace id of a link', span(len(13, len(1, '1'))), 'an id is 1 bytes long, not 16 at byte 9'],
  ])('%s', (_, request, message) => {
    expect(errorOf(request)).toBe(message)
  })
})

describe('taken', () => {
  test('nothing at all', () => {
    expect(scan(new Uint8Array(0), KEYS).rows).toBe(0)
  })

  test('empty messages at every level', () => {
    expect(scan(span(), KEYS).rows).toBe(1)
    expect(scan(join(len(1), len(1, len(2)), span(len(9), len(11), len(13), len(15))), KEYS).rows).toBe(1)
  })

  test('unknown fields of every wire type, with numbers up to 2^29 - 1', () => {
    const unknown = join(uint(200, 2n ** 64n - 1n), len(201, 'x'), fixed64(202, 1n), fixed32(2 ** 29 - 1, 1))
    const table = scan(join(unknown, len(1, unknown, len(2, unknown, len(2, unknown, len(5, 'n'))))), KEYS)
    expect(table.spans[SPAN.nameLen]).toBe(1)
  })

  test('tags and lengths written longer than need be', () => {
    const name = join(bytes(0xaa, 0x00, 0x81, 0x80, 0x00), bytes(0x6e))
    const table = scan(span(name), KEYS)
    expect(table.spans[SPAN.nameLen]).toBe(1)
  })

  test('an id of no bytes, over an earlier one', () => {
    const table = scan(span(len(1, '1234567812345678'), len(1)), KEYS)
    expect(table.spans[SPAN.traceId]).toBe(-1)
  })
})

describe('what was read before', () => {
  const tableOf = (request: Uint8Array) => {
    try {
      return scan(request, KEYS)
    } catch (error) {
      return String(error)
    }
  }

  test('leaves nothing behind, taken or refused', () => {
    fc.assert(
      fc.property(requests(), requests(), fc.nat(), (request, other, cut) => {
        const wanted = tableOf(request)
        tableOf(other.subarray(0, cut % (other.length + 1)))
        expect(tableOf(request)).toEqual(wanted)
        // Behind the cut lie, in the scanner's memory, the bytes that are missing.
        const part = request.slice(0, cut % (request.length + 1))
        const seen = tableOf(part)
        tableOf(new Uint8Array(request.length).fill(0xff))
        expect(tableOf(part)).toEqual(seen)
      }),
      { numRuns: Number(process.env['FUZZ_COUNT'] ?? 150) },
    )
  })

  test('a request that took much memory, also one that is refused', () => {
    const small = span(len(5, 'n'))
    const wanted = tableOf(small)
    expect(tableOf(span(len(5, new Uint8Array(40 << 20))))).toHaveProperty('rows', 1)
    expect(tableOf(small)).toEqual(wanted)
    expect(tableOf(new Uint8Array(40 << 20))).toContain('a field number is 0')
    expect(tableOf(small)).toEqual(wanted)
  })
})

describe('bounds', () => {
  const nested = (depth: number): Uint8Array => {
    let value = uint(3, 1)
    for (let i = 0; i < depth; i++) value = len(5, len(1, value))
    return span(keyValue('k', value))
  }

  test('values nest 63 deep and no deeper', () => {
    expect(errorOf(nested(63))).toBe('none')
    expect(errorOf(nested(64))).toMatch(/^values nest deeper than 64/)
    expect(errorOf(nested(5000))).toMatch(/^values nest deeper than 64/)
  })

  test('a request of empty messages is refused before its table outgrows memory', () => {
    const empty = new Uint8Array(2 << 20)
    for (let i = 0; i < empty.length; i += 2) empty[i] = 0x12
    expect(errorOf(len(1, len(2, empty)))).toMatch(/^too many empty elements for its size/)
  })

  test('attributes of one key and one digit are not such a request', () => {
    const one = keyValue('k', uint(3, 1))
    const many = Uint8Array.from({ length: 200_000 * one.length }, (_, i) => one[i % one.length]!)
    expect(scan(span(many), KEYS).attrs.length / ATTR_AT.width).toBe(200_000)
  })

  test('keys past the limit, or too long, are told by where they lie', () => {
    const keys = new KeyInterner(3)
    const attributes = ['a', 'b', 'c', 'd', 'e'].map((key) => keyValue(key, double(4, 1)))
    const table = scan(span(...attributes), keys)
    const ids = [...table.attrs].filter((_, index) => index % ATTR_AT.width === ATTR_AT.key)
    // '' has an id from the start, so two are left.
    expect(ids.map((id) => (id > 0 ? keys.name(id) : 'foreign'))).toEqual([
      'a',
      'b',
      'foreign',
      'foreign',
      'foreign',
    ])
    expect(table.hasForeignKeys).toBe(true)
    const long = scan(span(keyValue('k'.repeat(256), uint(3, 1))), new KeyInterner(100))
    expect(long.hasForeignKeys).toBe(true)
  })
})
