/** Unix ns of a time as events write it: RFC 3339, or a number whose unit is given or told by its size. */
export function nanoseconds(
  value: unknown,
  format: 'auto' | 'rfc3339' | 's' | 'ms' | 'us' | 'ns',
): bigint | undefined {
  const number = typeof value === 'string' && format !== 'rfc3339' ? numberOf(value) : value
  if (typeof number === 'number') return format === 'rfc3339' ? undefined : ofNumber(number, format)
  if (typeof number === 'bigint') return ofInteger(number, format)
  return typeof value === 'string' && (format === 'auto' || format === 'rfc3339') ? ofText(value) : undefined
}

const UNIT_NS = { s: 1e9, ms: 1e6, us: 1e3, ns: 1 } as const
type Unit = keyof typeof UNIT_NS

/** Nanoseconds of `amount` units. */
export function nanosecondsOf(amount: number, unit: Unit): bigint {
  return BigInt(Math.round(amount * UNIT_NS[unit]))
}

/** `ns` earlier, but not before 1970. */
export function before(time: bigint, ns: bigint): bigint {
  return ns > time ? 0n : time - ns
}

/** Text of more digits than a double holds stays exact. */
function numberOf(text: string): number | bigint | string {
  if (/^\d{16,20}$/.test(text)) return BigInt(text)
  return /^\d{1,15}(\.\d{1,9})?$/.test(text) ? Number(text) : text
}

function ofNumber(value: number, format: 'auto' | Unit): bigint | undefined {
  if (!Number.isFinite(value) || value < 0 || value > 1e20) return undefined
  const unit = format === 'auto' ? unitOf(value) : format
  if (unit === 'us' || unit === 'ns') return inRange(BigInt(Math.round(value * UNIT_NS[unit])))
  // By microseconds, beyond which a double knows nothing of times of today.
  return inRange(BigInt(Math.round(value * (UNIT_NS[unit] / 1000))) * 1000n)
}

function ofInteger(value: bigint, format: 'auto' | 'rfc3339' | Unit): bigint | undefined {
  if (format === 'rfc3339') return undefined
  const unit = format === 'auto' ? unitOf(Number(value)) : format
  return inRange(value * BigInt(UNIT_NS[unit]))
}

/** Of times between 1973 and 5000: seconds have at most 11 digits, milliseconds 14, microseconds 17. */
function unitOf(value: number): Unit {
  if (value < 1e11) return 's'
  if (value < 1e14) return 'ms'
  return value < 1e17 ? 'us' : 'ns'
}

const RFC3339 = /^(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d:\d\d)(?:[.,](\d{1,9})\d*)?\s?(Z|z|UTC|[+-]\d\d:?\d\d)?$/

/** Without an offset the time is UTC: Python's `datetime.utcnow().isoformat()` writes none. */
function ofText(text: string): bigint | undefined {
  const match = RFC3339.exec(text)
  if (match === null) return undefined
  const [, date = '', time = '', fraction = '', zone = 'Z'] = match
  const offset = /^[+-]/.test(zone) ? `${zone.slice(0, 3)}:${zone.slice(-2)}` : 'Z'
  const ms = Date.parse(`${date}T${time}${offset}`)
  if (Number.isNaN(ms)) return undefined
  return inRange(BigInt(ms) * 1_000_000n + BigInt(fraction.padEnd(9, '0')))
}

function inRange(value: bigint): bigint | undefined {
  return value >= 0n && value < 1n << 63n ? value : undefined
}
