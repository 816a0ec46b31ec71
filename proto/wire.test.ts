import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { varint } from '../test/otlp/wire-writer.ts'
import { Cursor, int64At, intAt, Sink, varintSize, WIRE } from './wire.ts'

const INT64 = fc.oneof(fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }), fc.bigInt(-300n, 300n))

test('64-bit varints, both ways', () => {
  fc.assert(
    fc.property(INT64, (value) => {
      const bytes = Uint8Array.from(varint(value))
      expect(int64At(bytes, 0)).toBe(value)
      if (value >= -(2n ** 53n) && value <= 2n ** 53n) expect(intAt(bytes, 0)).toBe(Number(value))
      const sink = new Sink(1)
      sink.varint64(value)
      expect([...sink.take()]).toEqual([...bytes])
    }),
  )
})

test('unsigned varints, both ways', () => {
  fc.assert(
    fc.property(fc.maxSafeNat(), (value) => {
      const sink = new Sink(1)
      sink.varint(value)
      expect([...sink.take()]).toEqual(varint(value))
      expect(varintSize(value)).toBe(sink.length)
      expect(new Cursor(sink.take()).varint()).toBe(value)
    }),
  )
})

test('a message of unknown length gets its length, whatever it is', () => {
  for (const size of [0, 1, 127, 128, 16_383, 16_384, 2_097_152]) {
    const sink = new Sink(1)
    const outer = sink.open(1)
    const inner = sink.open(2)
    sink.raw(new Uint8Array(size).fill(7))
    sink.close(inner)
    sink.close(outer)
    const cursor = new Cursor(sink.take())
    expect(cursor.next()).toBe(true)
    const child = cursor.message()
    expect(cursor.next()).toBe(false)
    expect(child.next()).toBe(true)
    const content = child.view()
    expect(content.length).toBe(size)
    expect(content.every((byte) => byte === 7)).toBe(true)
    expect(child.next()).toBe(false)
  }
})

test('text is written as UTF-8, lone surrogates replaced', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const sink = new Sink(1)
      sink.tag(9, WIRE.len)
      sink.string(text)
      const cursor = new Cursor(sink.take())
      cursor.next()
      expect(cursor.string()).toBe(text.toWellFormed())
    }),
  )
})

test('a short message at the very end of the buffer keeps its content', () => {
  for (let spare = 0; spare < 24; spare++) {
    const sink = new Sink(32)
    sink.raw(new Uint8Array(32 - spare))
    const mark = sink.open(1)
    sink.raw(Uint8Array.of(1, 2, 3))
    sink.close(mark)
    expect([...sink.take().subarray(32 - spare)]).toEqual([0x0a, 3, 1, 2, 3])
  }
})
