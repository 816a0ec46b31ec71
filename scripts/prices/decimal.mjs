// Prices as decimal text. A double such as 0.18000000000000002 or 1.5e-07 carries 12 true digits; more are noise.

/** undefined for nothing; the shortest decimal text otherwise. */
export function decimal(value) {
  if (value === undefined || value === null || value === '') return undefined
  const number = Number(value)
  if (!Number.isFinite(number)) return undefined
  return plain(number)
}

/** USD per token → USD per million tokens. */
export function perMillion(value) {
  return value === undefined || value === null
    ? undefined
    : decimal(Number((Number(value) * 1e6).toPrecision(12)))
}

/** a · b / c where that is a short decimal; undefined otherwise. */
export function proportion(a, b, c) {
  if (a === undefined || b === undefined || !(Number(c) > 0)) return undefined
  const text = plain((Number(a) * Number(b)) / Number(c))
  return text.replace(/^\d+\.?/, '').length <= 6 ? text : undefined
}

function plain(number) {
  // 9 decimals per million tokens: 1e-15 USD a token.
  return Number(number.toPrecision(12))
    .toFixed(9)
    .replace(/\.?0+$/, '')
}
