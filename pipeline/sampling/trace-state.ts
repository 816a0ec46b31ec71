/**
 * The `ot` member of a W3C tracestate, as OpenTelemetry's probability sampling has it (specification
 * `trace/tracestate-probability-sampling`, OTEP 235): `ot=th:<hex>;rv:<14 hex>`. A span is kept where its randomness R
 * (`rv`, else the last 56 bits of the trace id) is at least the threshold T (`th`, trailing zeros left out), so that
 * it stands for 2^56 / (2^56 − T) spans.
 *
 * Both are held as their upper 52 bits, which a number holds exactly. A threshold of up to 13 digits loses nothing
 * by it: then R ≥ T exactly when the upper bits are.
 */
export const RANDOM_RANGE = 2 ** 52
const DIGITS = 13

export interface OtState {
  /** Undefined: not sampled so far, or it cannot be read. */
  readonly threshold: number | undefined
  /** `rv`; undefined: that of the trace id counts. */
  readonly randomness: number | undefined
}

const NOTHING: OtState = Object.freeze({ threshold: undefined, randomness: undefined })
/** Linear: what stands behind the value is cut off afterwards. */
const MEMBER = /(?:^|,)[ \t]*ot=([^,]*)/
const THRESHOLD = /(?:^|;)th:([0-9a-f]{1,14})(?=;|$)/
const RANDOMNESS = /(?:^|;)rv:([0-9a-f]{14})(?=;|$)/

/** What the tracestate says of sampling. A threshold that the randomness contradicts is for the caller to judge. */
export function otOf(traceState: string): OtState {
  if (!traceState.includes('ot=')) return NOTHING
  const value = MEMBER.exec(traceState)?.[1]?.trimEnd()
  if (value === undefined) return NOTHING
  const th = THRESHOLD.exec(value)?.[1]
  const rv = RANDOMNESS.exec(value)?.[1]
  return {
    threshold: th === undefined ? undefined : upperBits(th),
    randomness: rv === undefined ? undefined : upperBits(rv),
  }
}

function upperBits(hex: string): number {
  return Number.parseInt(hex.slice(0, DIGITS).padEnd(DIGITS, '0'), 16)
}

/** The upper 52 of the last 56 bits of a trace id; undefined for one that is not 16 bytes, or zero. */
export function randomnessOf(traceId: Uint8Array): number | undefined {
  if (traceId.length !== 16 || traceId.every((byte) => byte === 0)) return undefined
  let high = 0
  for (let at = 9; at < 15; at++) high = high * 256 + traceId[at]!
  return high * 16 + (traceId[15]! >> 4)
}

/** Chance of passing a threshold. */
export function probabilityOf(threshold: number): number {
  return (RANDOM_RANGE - threshold) / RANDOM_RANGE
}

/**
 * The threshold that passes with `probability`, 0 < p ≤ 1, in `precision` significant hex digits: more near 0 and 1,
 * where leading digits are all `f` or `0`, as the specification has it.
 */
export function thresholdOf(probability: number, precision = DIGITS): number {
  if (probability >= 1) return 0
  const leading = Math.floor(Math.max(-exponent(probability), -exponent(1 - probability)) / 4)
  const digits = Math.min(DIGITS, precision + leading)
  const unit = 16 ** (DIGITS - digits)
  const threshold = Math.round(((1 - probability) * RANDOM_RANGE) / unit) * unit
  return Math.min(threshold, RANDOM_RANGE - unit)
}

/** Of a number as m·2^e with m in [½, 1). */
function exponent(value: number): number {
  return Math.floor(Math.log2(value)) + 1
}

const MAX_MEMBERS = 32
const MAX_VALUE = 256

/**
 * The tracestate with that threshold; undefined takes it out. Other parts of `ot` stay, and `ot` moves to the front,
 * as W3C asks of who changes a member; the 33rd leaves.
 */
export function withThreshold(traceState: string, threshold: number | undefined): string {
  const members = traceState
    .split(',')
    .map((member) => member.trim())
    .filter((member) => member !== '')
  const mine = members.find((member) => member.startsWith('ot='))?.slice(3) ?? ''
  const others = members.filter((member) => !member.startsWith('ot='))
  const parts = mine.split(';').filter((part) => part !== '' && !part.startsWith('th:'))
  if (threshold !== undefined) parts.unshift(`th:${hexOf(threshold)}`)
  const value = fitting(parts)
  if (value === '') return others.join(',')
  return [`ot=${value}`, ...others.slice(0, MAX_MEMBERS - 1)].join(',')
}

/** As many of the first parts as a value may hold. */
function fitting(parts: readonly string[]): string {
  let length = -1
  const end = parts.findIndex((part) => (length += 1 + part.length) > MAX_VALUE)
  return (end < 0 ? parts : parts.slice(0, end)).join(';')
}

function hexOf(threshold: number): string {
  return threshold.toString(16).padStart(DIGITS, '0').replace(/0+$/, '') || '0'
}
