const RFC3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:\.(\d{1,9})\d*)?([Zz]|[+-]\d\d:\d\d)$/
/** Spans' times are unsigned ns; ClickHouse's DateTime64(9) ends in 2262. */
const END_MS = Date.UTC(2262, 0)

/** An RFC 3339 time → Unix ns; undefined when it is none, or not between 1970 and 2261. */
export function parseTime(text: string): bigint | undefined {
  const match = RFC3339.exec(text)
  if (match === null) return undefined
  const [, date = '', clock = '', fraction = '', zone = ''] = match
  const ms = Date.parse(`${date}T${clock}${zone.toUpperCase()}`)
  if (!(ms >= 0 && ms < END_MS) || !isDay(date)) return undefined
  return BigInt(ms) * 1_000_000n + BigInt(fraction === '' ? 0 : Number(fraction.padEnd(9, '0')))
}

/** `Date.parse` takes the 30th of February for the 2nd of March. */
function isDay(date: string): boolean {
  return Number(date.slice(8)) <= 28 || new Date(`${date}T00:00:00Z`).toISOString().startsWith(date)
}
