import { expect, test } from 'vitest'
import { Sink } from './sink.ts'

test('integers are written as their text', () => {
  for (const value of [
    0,
    7,
    9,
    10,
    99,
    100,
    4096,
    999_999_999,
    1_000_000_000,
    2 ** 31 - 1,
    2 ** 31,
    2 ** 53 - 1,
    -1,
  ]) {
    const [made, plain] = [new Sink(1), new Sink(1)]
    made.integer(value)
    plain.text(String(value))
    expect(made.view().toString('latin1')).toBe(plain.view().toString('latin1'))
  }
})

test('strings of every length, from any offset, whichever way they are copied', () => {
  const source = Buffer.from(Array.from({ length: 5000 }, (_, i) => (i * 7 + (i >> 8)) & 0xff))
  for (const parent of [source, Buffer.from([1, 2, 3, ...source]).subarray(3)]) {
    for (const size of [0, 1, 23, 24, 25, 26, 27, 127, 128, 1023, 1024, 4000]) {
      const sink = new Sink(8)
      sink.varint(5)
      sink.string(parent, 11, 11 + size)
      const head = size < 128 ? 1 : 2
      expect(sink.length).toBe(1 + head + size)
      expect(
        sink
          .view()
          .subarray(1 + head)
          .equals(source.subarray(11, 11 + size)),
      ).toBe(true)
    }
  }
})

test('what was written is repeated, also where that needs more room', () => {
  const sink = new Sink(4)
  sink.text('abc')
  sink.repeat(1, 4)
  sink.byte(100)
  expect(sink.view().toString('latin1')).toBe('\x03abcabcd')
})
