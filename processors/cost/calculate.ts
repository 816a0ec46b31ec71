import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { FINE, type RateCard } from './rates.ts'

/** Which part of the cost a bucket goes to: an index into COSTS. */
const PART: Uint8Array = Uint8Array.from(TOKENS, (bucket) => {
  if (bucket === 'CacheReadTokens') return COSTS.indexOf('CostCacheReadUsd')
  if (bucket.startsWith('CacheWrite')) return COSTS.indexOf('CostCacheWriteUsd')
  return COSTS.indexOf(bucket.includes('Input') ? 'CostInputUsd' : 'CostOutputUsd')
})

/** What Decimal(18,12) can hold. */
const MAX_COST = 10n ** 18n

export type Calculation = 'computed' | 'no_rate' | 'out_of_range'

/**
 * Writes the cost of the buckets at `at` to `costs` at `to`, in the order of COSTS: exact, each part rounded half up to
 * 1e-12 USD where a rate is finer, the total the sum of the parts. Writes nothing unless it answers `computed`.
 * `costs`: `halves` of a cost column; `to` counts its 32-bit words.
 */
export function calculate(
  card: RateCard,
  tokens: Uint32Array,
  at: number,
  costs: Uint32Array,
  to: number,
): Calculation {
  if (card.whole !== undefined && small(card.whole, tokens, at, costs, to)) return 'computed'
  const parts = Array.from(COSTS, () => 0n)
  for (let bucket = 0; bucket < TOKENS.length; bucket++) {
    const count = tokens[at + bucket] ?? 0
    if (count === 0) continue
    const rate = card.fine[bucket]
    if (rate === undefined) return 'no_rate'
    const part = PART[bucket] ?? 0
    parts[part] = (parts[part] ?? 0n) + BigInt(count) * rate
  }
  let total = 0n
  for (let part = 1; part < COSTS.length; part++) {
    parts[part] = ((parts[part] ?? 0n) + FINE / 2n) / FINE
    total += parts[part] ?? 0n
  }
  if (total >= MAX_COST) return 'out_of_range'
  parts[0] = total
  for (let part = 0; part < COSTS.length; part++) {
    const cost = parts[part] ?? 0n
    costs[to + 2 * part] = Number(cost & 0xffff_ffffn)
    costs[to + 2 * part + 1] = Number(cost >> 32n)
  }
  return 'computed'
}

const WORD = 2 ** 32

const sums = new Float64Array(COSTS.length)

/** The same in numbers, which are exact below 2^53; false when that is left or a rate is missing. */
function small(
  rates: Float64Array,
  tokens: Uint32Array,
  at: number,
  costs: Uint32Array,
  to: number,
): boolean {
  sums.fill(0)
  let total = 0
  for (let bucket = 0; bucket < TOKENS.length; bucket++) {
    const count = tokens[at + bucket] ?? 0
    if (count === 0) continue
    const part = PART[bucket] ?? 0
    const cost = count * (rates[bucket] ?? Number.NaN)
    sums[part] = (sums[part] ?? 0) + cost
    total += cost
  }
  if (!(total <= Number.MAX_SAFE_INTEGER)) return false
  sums[0] = total
  for (let part = 0; part < COSTS.length; part++) {
    const sum = sums[part] ?? 0
    const high = Math.floor(sum / WORD)
    costs[to + 2 * part] = sum - high * WORD
    costs[to + 2 * part + 1] = high
  }
  return true
}
