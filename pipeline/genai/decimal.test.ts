import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { scaled, usdText } from './decimal.ts'

test.each([
  ['0.15', 12, 150_000_000_000n],
  ['1.5e-07', 12, 150_000n],
  ['.5', 1, 5n],
  ['5.', 0, 5n],
  ['0.0000000000005', 12, 1n],
  ['0.00000000000049', 12, 0n],
  ['-2.5', 1, -25n],
  ['', 12, undefined],
  ['.', 12, undefined],
  ['abc', 12, undefined],
  ['1e999', 12, undefined],
  ['0x10', 12, undefined],
  ['Infinity', 12, undefined],
])('%s to %d digits', (text, digits, units) => expect(scaled(text, digits)).toBe(units))

test('units and text are one', () => {
  fc.assert(fc.property(fc.bigInt(0n, 10n ** 18n), (units) => scaled(usdText(units), 12) === units))
})
