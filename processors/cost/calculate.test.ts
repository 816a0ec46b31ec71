import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { halves } from '../../pipeline/batch/halves.ts'
import { calculate } from './calculate.ts'
import { FINE, type RateCard } from './rates.ts'

function card(fine: readonly bigint[], whole: boolean): RateCard {
  return { fine, whole: whole ? Float64Array.from(fine, (rate) => Number(rate / FINE)) : undefined }
}

const counts = fc.array(fc.integer({ min: 0, max: 4_000_000_000 }), {
  minLength: TOKENS.length,
  maxLength: TOKENS.length,
})
const rates = fc.array(fc.bigInt(0n, 20_000_000n), { minLength: TOKENS.length, maxLength: TOKENS.length })

test('numbers and big integers give the same', () => {
  fc.assert(
    fc.property(counts, rates, (tokens, units) => {
      const fine = units.map((unit) => unit * FINE)
      const [fast, exact] = [true, false].map((whole) => {
        const costs = new BigInt64Array(COSTS.length)
        const outcome = calculate(card(fine, whole), Uint32Array.from(tokens), 0, halves(costs), 0)
        return [outcome, ...costs]
      })
      expect(fast).toEqual(exact)
    }),
  )
})

test('a rate finer than 1e-12 is rounded once, half up, per part', () => {
  const fine = TOKENS.map(() => FINE / 2n)
  const costs = new BigInt64Array(COSTS.length)
  expect(
    calculate(
      card(fine, false),
      Uint32Array.from(TOKENS, () => 1),
      0,
      halves(costs),
      0,
    ),
  ).toBe('computed')
  // Input 3 × ½, read ½, write 2 × ½, output 4 × ½.
  expect([...costs]).toEqual([6n, 2n, 1n, 1n, 2n])
})

test('a used bucket without a rate is no cost', () => {
  const costs = new BigInt64Array(COSTS.length)
  const missing: RateCard = { fine: TOKENS.map(() => undefined), whole: undefined }
  expect(
    calculate(
      missing,
      Uint32Array.from(TOKENS, () => 1),
      0,
      halves(costs),
      0,
    ),
  ).toBe('no_rate')
  expect([...costs]).toEqual([0n, 0n, 0n, 0n, 0n])
})
