import { describe, expect, test } from 'vitest'
import { standardRequest } from '../../bench/shape.ts'
import { naiveRows } from '../../test/otlp/naive.ts'
import { META } from '../../test/otlp/rows-of.ts'
import { double, fixed64, join, len, uint } from '../../test/otlp/wire-writer.ts'
import { Fault } from '../fault.ts'
import { ATTR, type AttrRef, type Batch, NONE } from './batch.ts'
import { emptyFacts, TOKENS } from './facts.ts'
import { FOREIGN, keyId } from './keys.ts'
import { decodeBatch } from './otlp-batch.ts'

const attribute = (key: string, value: Uint8Array): Uint8Array => len(9, len(1, key), len(2, value))
const batchOf = (...spans: Uint8Array[][]): Batch =>
  decodeBatch(len(1, len(2, ...spans.map((fields) => len(2, ...fields)))), META)

describe('reading', () => {
  test('malformed bytes are a Fault that rejects, with the offset', () => {
    const fault = (() => {
      try {
        return decodeBatch(Uint8Array.of(0x0a, 3), META)
      } catch (error) {
        return error
      }
    })()
    expect(fault).toBeInstanceOf(Fault)
    expect(fault).toMatchObject({ code: 'BATCH_MALFORMED', verdict: { do: 'reject' } })
    expect((fault as Fault).message).toBe(
      'not an ExportTraceServiceRequest: a length of 3 runs past the end of its message at byte 1',
    )
  })

  test('the first of two attributes of a key is found, and NONE for an absent one', () => {
    const batch = batchOf([attribute('k', uint(3, 1)), attribute('k', uint(3, 2))], [])
    expect(batch.number(batch.attr(0, keyId('k')))).toBe(1)
    expect(batch.attr(0, keyId('absent'))).toBe(NONE)
    expect(batch.attr(1, keyId('k'))).toBe(NONE)
    expect(batch.resourceAttr(0, keyId('k'))).toBe(NONE)
    expect(batch.scopeAttr(0, keyId('k'))).toBe(NONE)
  })

  test('a key that was not interned is found all the same', () => {
    const long = 'z'.repeat(400)
    const batch = batchOf([
      attribute('a', uint(3, 1)),
      attribute(long, uint(3, 7)),
      attribute(`${long}y`, uint(3, 8)),
    ])
    const { first } = batch.attrs(0, 'span')
    expect(batch.keyId((first + 1) as AttrRef)).toBe(FOREIGN)
    expect(batch.key((first + 1) as AttrRef)).toBe(long)
    expect(batch.number(batch.attr(0, keyId(`${long}y`)))).toBe(8)
    expect(batch.number(batch.attr(0, keyId(long)))).toBe(7)
    expect(batch.attr(0, keyId(`${long}x`))).toBe(NONE)
  })

  test('numbers are ints, doubles and decimal strings', () => {
    const numberOf = (value: Uint8Array): number => {
      const batch = batchOf([attribute('k', value)])
      return batch.number(batch.attr(0, keyId('k')))
    }
    expect(numberOf(uint(3, -5))).toBe(-5)
    expect(numberOf(uint(3, 2n ** 53n))).toBe(2 ** 53)
    expect(numberOf(double(4, 0.25))).toBe(0.25)
    for (const [text, number] of [
      ['12', 12],
      ['-1.5e3', -1500],
      [' 7 ', 7],
      ['.5', 0.5],
      ['+3', 3],
    ] as const) {
      expect(numberOf(len(1, text))).toBe(number)
    }
    for (const text of ['', ' ', 'x', '0x10', '1_000', 'Infinity', '1'.repeat(65), '1e']) {
      expect(numberOf(len(1, text))).toBeNaN()
    }
    expect(numberOf(uint(2, 1))).toBeNaN()
  })

  test('times are exact, and a span that ends before it starts took no time', () => {
    const ns = 1_780_272_000_999_999_999n
    const batch = batchOf([fixed64(7, ns), fixed64(8, ns + 5n)], [fixed64(7, ns), fixed64(8, ns - 1n)], [])
    expect(batch.startNs(0)).toBe(ns)
    expect(batch.startMs(0)).toBe(1_780_272_000_999)
    expect(batch.durationNs(0)).toBe(5n)
    expect(batch.durationNs(1)).toBe(0n)
    expect([batch.startMs(2), batch.startNs(2)]).toEqual([0, 0n])
    expect(batchOf([fixed64(7, 2n ** 64n - 1n)]).startMs(0)).toBe(18_446_744_073_709)
  })

  test('an absent id is empty, and one of zeros is not', () => {
    const batch = batchOf([len(1, new Uint8Array(16)), len(2, new Uint8Array(8))], [])
    expect(batch.traceId(0)).toEqual(Buffer.alloc(16))
    expect([batch.traceId(1).length, batch.spanId(1).length, batch.parentSpanId(0).length]).toEqual([0, 0, 0])
  })
})

describe('edits', () => {
  test('set replaces where the key is, adds where it is not, and remove takes both', () => {
    const batch = batchOf([attribute('a', uint(3, 1))], [attribute('a', uint(3, 2))])
    batch.set(0, keyId('a'), 'one')
    batch.set(0, keyId('b'), 2.5)
    batch.set(0, keyId('b'), 3)
    const added = batch.attr(0, keyId('b'))
    expect([batch.key(added), batch.keyId(added), batch.type(added), batch.number(added)]).toEqual([
      'b',
      keyId('b'),
      ATTR.int,
      3,
    ])
    expect(batch.text(batch.attr(0, keyId('a')))).toBe('one')
    expect(batch.size(batch.attr(0, keyId('a')))).toBe(3)
    expect(batch.attr(1, keyId('b'))).toBe(NONE)
    batch.remove(0, keyId('a'))
    batch.remove(0, keyId('b'))
    expect([batch.attr(0, keyId('a')), batch.attr(0, keyId('b'))]).toEqual([NONE, NONE])
    batch.set(0, keyId('a'), true)
    expect(batch.text(batch.attr(0, keyId('a')))).toBe('true')
    expect(naiveRows(batch.encode()).map((row) => row.attributes)).toEqual([
      [{ key: 'a', value: [2, true] }],
      [{ key: 'a', value: [3, 2n] }],
    ])
  })

  test('what was removed stays in the range, as an empty value', () => {
    const batch = batchOf([attribute('a', len(1, 'secret'))])
    const ref = batch.attr(0, keyId('a'))
    batch.remove(0, keyId('a'))
    expect([batch.type(ref), batch.string(ref), batch.text(ref), batch.size(ref)]).toEqual([
      ATTR.empty,
      '',
      '',
      0,
    ])
    expect(batch.number(ref)).toBeNaN()
  })

  test('of two attributes of a key, remove takes both', () => {
    const batch = batchOf([
      attribute('a', uint(3, 1)),
      attribute('b', uint(3, 9)),
      attribute('a', uint(3, 2)),
    ])
    batch.remove(0, keyId('a'))
    expect(naiveRows(batch.encode())[0]!.attributes).toEqual([{ key: 'b', value: [3, 9n] }])
  })

  test('drops are counted by the first reason given', () => {
    const batch = batchOf([], [], [])
    batch.drop(0, 'sampled')
    batch.drop(0, 'invalid')
    batch.drop(2, 'invalid')
    expect([batch.rows, batch.live]).toEqual([3, 1])
    expect(Object.fromEntries(batch.drops())).toEqual({ sampled: 1, invalid: 1 })
    expect([0, 1, 2].map((row) => batch.isLive(row))).toEqual([false, true, false])
  })

  test('a batch of which nothing is left encodes to nothing', () => {
    const batch = batchOf([])
    batch.drop(0, 'expired')
    expect(batch.encode().length).toBe(0)
    expect(batch.toJson()).toBe('{}')
  })

  test('unknown fields of a span outlive an edit of it', () => {
    const batch = batchOf([len(5, 'old'), len(99, 'future')])
    batch.setName(0, 'new')
    expect(Buffer.from(batch.encode()).includes('future')).toBe(true)
    expect(naiveRows(batch.encode())[0]!.name).toBe('new')
  })
})

describe('parts', () => {
  test('a batch that fits is not parted', () => {
    const batch = decodeBatch(standardRequest(1, 20), META)
    expect(batch.split(batch.encode().length)).toEqual([batch])
  })

  test('every part has the resource and the scope', () => {
    const batch = decodeBatch(standardRequest(1, 20), META)
    const parts = batch.split(5000)
    expect(parts.length).toBeGreaterThan(3)
    for (const part of parts) {
      expect(part.string(part.resourceAttr(0, keyId('service.name')))).toBe('checkout-agent')
      expect(part.scopeName(0)).toBe('opentelemetry.instrumentation.openai')
      expect(part.meta).toBe(batch.meta)
    }
  })

  test('a span that fits nowhere is refused with its size and the limit', () => {
    const batch = decodeBatch(standardRequest(1, 3), META)
    expect(() => batch.split(500)).toThrow(
      /^span 0 takes \d+ bytes with its resource and scope, and one message may take 500/,
    )
    expect(() => batch.split(500)).toThrow(
      expect.objectContaining({ code: 'SPAN_TOO_LARGE', verdict: { do: 'reject' } }),
    )
  })

  test('facts go with their rows', () => {
    const batch = decodeBatch(standardRequest(1, 4), META)
    const facts = emptyFacts(4)
    for (let row = 0; row < 4; row++) {
      facts.runId.set(row, `run ${row}`)
      facts.tokens[row * TOKENS.length + 1] = row + 10
      facts.sampleRate[row] = row
    }
    batch.facts = facts
    const part = batch.select([3, 1])
    expect([0, 1].map((row) => part.facts!.runId.at(row))).toEqual(['run 1', 'run 3'])
    expect([part.facts!.tokens[1], part.facts!.tokens[TOKENS.length + 1]]).toEqual([11, 13])
    expect([part.facts!.rows, ...part.facts!.sampleRate]).toEqual([2, 1, 3])
    const fork = batch.fork()
    fork.facts!.runId.set(0, 'other')
    expect(facts.runId.at(0)).toBe('run 0')
  })

  test('merging is putting bytes together', () => {
    const [first, second] = [standardRequest(1, 2), standardRequest(2, 3)]
    const batch = decodeBatch(join(first, second), META)
    expect(batch.rows).toBe(5)
    expect(batch.select([2, 3, 4]).encode()).toEqual(Buffer.from(second))
  })
})

describe('time is bounded by size', () => {
  const millis = (work: () => void): number => {
    const start = process.cpuUsage()
    work()
    const { user, system } = process.cpuUsage(start)
    return (user + system) / 1000
  }
  const wide = (attributes: number): Uint8Array => {
    const one = attribute('k', uint(3, 1))
    return len(
      1,
      len(
        2,
        len(
          2,
          Uint8Array.from({ length: attributes * one.length }, (_, i) => one[i % one.length]!),
        ),
      ),
    )
  }

  test('a span of 200,000 attributes costs about 10 times one of 20,000, not 100 times', () => {
    const work = (bytes: Uint8Array) => (): void => {
      const batch = decodeBatch(bytes, META)
      for (let i = 0; i < 10; i++) batch.attr(0, keyId('absent'))
      batch.remove(0, keyId('k'))
      batch.encode()
    }
    const [small, large] = [wide(20_000), wide(200_000)]
    work(small)()
    const base = Math.max(5, millis(work(small)))
    expect(millis(work(large))).toBeLessThan(base * 50)
  })
})
