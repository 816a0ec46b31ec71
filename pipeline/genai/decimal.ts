/** Money is an integer of 1e-12 USD: what Decimal(18,12) holds, exact in sums and products. */
export const USD_DIGITS = 12

const DECIMAL = /^([+-]?)(\d{0,30})(?:\.(\d{0,60}))?(?:e([+-]?\d{1,3}))?$/i

/** A decimal text as an integer of 10^-digits, half up; undefined when it is not a number. Never goes through a double. */
export function scaled(text: string, digits: number): bigint | undefined {
  const match = DECIMAL.exec(text.trim())
  if (match === null) return undefined
  const [, sign, whole = '', fraction = '', exponent = '0'] = match
  if (whole === '' && fraction === '') return undefined
  const shift = digits + Number(exponent) - fraction.length
  if (shift > 60) return undefined
  const value = shifted(BigInt(whole + fraction), shift)
  return sign === '-' ? -value : value
}

function shifted(value: bigint, shift: number): bigint {
  if (shift >= 0) return value * 10n ** BigInt(shift)
  const divisor = 10n ** BigInt(-shift)
  return (value + divisor / 2n) / divisor
}

/** Units of 1e-12 USD as decimal text without trailing zeros. */
export function usdText(units: bigint): string {
  const negative = units < 0n
  const digits = (negative ? -units : units).toString().padStart(USD_DIGITS + 1, '0')
  const whole = digits.slice(0, -USD_DIGITS)
  const fraction = digits.slice(-USD_DIGITS).replace(/0+$/, '')
  return `${negative ? '-' : ''}${whole}${fraction === '' ? '' : '.'}${fraction}`
}
