import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { AT } from '../../pipeline/genai/usage.ts'
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

/** The same in numbers, which are exact below 2^53; false when that is left or a rate is missing. */
function small(
  rates: Float64Array,
  tokens: Uint32Array,
  at: number,
  costs: Uint32Array,
  to: number,
): boolean {
  const read = costOf(AT.CacheReadTokens, rates, tokens, at)
  const written =
    costOf(AT.CacheWriteTokens, rates, tokens, at) + costOf(AT.CacheWrite1hTokens, rates, tokens, at)
  const input =
    costOf(AT.InputTokens, rates, tokens, at) +
    costOf(AT.AudioInputTokens, rates, tokens, at) +
    costOf(AT.ImageInputTokens, rates, tokens, at)
  const output =
    costOf(AT.OutputTokens, rates, tokens, at) +
    costOf(AT.ReasoningTokens, rates, tokens, at) +
    costOf(AT.AudioOutputTokens, rates, tokens, at) +
    costOf(AT.ImageOutputTokens, rates, tokens, at)
  const total = input + read + written + output
  if (!(total <= Number.MAX_SAFE_INTEGER)) return false
  // The order of COSTS.
  put(total, costs, to)
  put(input, costs, to + 2)
  put(read, costs, to + 4)
  put(written, costs, to + 6)
  put(output, costs, to + 8)
  return true
}

/** A bucket without a rate costs nothing as long as it is empty. */
function costOf(bucket: number, rates: Float64Array, tokens: Uint32Array, at: number): number {
  const count = tokens[at + bucket]!
  return count === 0 ? 0 : count * rates[bucket]!
}

const WORD = 2 ** 32

function put(cost: number, costs: Uint32Array, to: number): void {
  const high = cost < WORD ? 0 : Math.floor(cost / WORD)
  costs[to] = cost - high * WORD
  costs[to + 1] = high
}
