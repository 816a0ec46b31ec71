import * as fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { otOf, probabilityOf, RANDOM_RANGE, randomnessOf, thresholdOf, withThreshold } from './trace-state.ts'

const text = (probability: number, precision: number) =>
  withThreshold('', thresholdOf(probability, precision))

describe('the ot member of a tracestate', () => {
  it('writes thresholds as the specification and the collector do', () => {
    // Values of the collector's tests (pkg/sampling) and of the specification's example code.
    expect(text(1, 4)).toBe('ot=th:0')
    expect(text(0.5, 4)).toBe('ot=th:8')
    expect(text(0.25, 4)).toBe('ot=th:c')
    expect(text(0.1, 4)).toBe('ot=th:e666')
    expect(text(0.01, 4)).toBe('ot=th:fd70a')
    expect(text(1 / 3, 3)).toBe('ot=th:aab')
    expect(text(2 / 3, 4)).toBe('ot=th:5555')
    expect(text(0.999, 4)).toBe('ot=th:004189')
  })

  it('reads th and rv wherever the member stands, and nothing from what is malformed', () => {
    expect(otOf('a=b,ot=th:c;rv:d29d6a7215ced0,z=1')).toEqual({
      threshold: 0.75 * RANDOM_RANGE,
      randomness: Number.parseInt('d29d6a7215ced', 16),
    })
    expect(otOf('ot=th:0').threshold).toBe(0)
    for (const bad of [
      '',
      'ot=',
      'ot=th:',
      'ot=th:C',
      'ot=th:c000000000000000',
      'xot=th:c',
      'ot=xth:c',
      'o=th:c',
    ]) {
      expect(otOf(bad), bad).toEqual({ threshold: undefined, randomness: undefined })
    }
    expect(otOf('ot=rv:d29d6a7215ced').randomness).toBeUndefined()
  })

  it('keeps what others wrote, moves itself to the front, and never grows past 32 members', () => {
    expect(withThreshold('a=b, ot=rv:d29d6a7215ced0;th:8;x:1 ,c=d', 0.75 * RANDOM_RANGE)).toBe(
      'ot=th:c;rv:d29d6a7215ced0;x:1,a=b,c=d',
    )
    expect(withThreshold('a=b,ot=th:8', undefined)).toBe('a=b')
    const many = Array.from({ length: 32 }, (_, index) => `k${index}=v`).join(',')
    expect(withThreshold(many, 0).split(',')).toHaveLength(32)
  })

  it('takes the randomness from the last seven bytes', () => {
    const id = Buffer.from('aaaaaaaaaaaaaaaaaad29d6a7215ced0', 'hex')
    expect(randomnessOf(id)).toBe(Number.parseInt('d29d6a7215ced', 16))
    expect(randomnessOf(Buffer.alloc(16))).toBeUndefined()
    expect(randomnessOf(Buffer.alloc(0))).toBeUndefined()
  })

  it('round-trips any threshold, and the precision costs no more than its digits', () => {
    fc.assert(
      fc.property(
        fc.double({ min: 1e-9, max: 1, noNaN: true }),
        fc.integer({ min: 1, max: 13 }),
        (p, digits) => {
          const threshold = thresholdOf(p, digits)
          expect(threshold).toBeGreaterThanOrEqual(0)
          expect(threshold).toBeLessThan(RANDOM_RANGE)
          expect(otOf(withThreshold('', threshold)).threshold).toBe(threshold)
          expect(Math.abs(probabilityOf(threshold) / p - 1)).toBeLessThanOrEqual(16 ** (1 - digits) + 1e-6)
        },
      ),
    )
  })

  it('takes linear time, whatever a sender writes', () => {
    const long = 200_000
    const started = performance.now()
    expect(otOf(`ot=${' '.repeat(long)}x`).threshold).toBeUndefined()
    expect(otOf(`ot=th:8${' '.repeat(long)},a=b`).threshold).toBe(0.5 * RANDOM_RANGE)
    expect(otOf(`ot=${'th:;'.repeat(long)}`).threshold).toBeUndefined()
    expect(withThreshold(`ot=${'a;'.repeat(long)}`, 0).length).toBeLessThanOrEqual(3 + 256)
    expect(performance.now() - started).toBeLessThan(2000)
  })
})
