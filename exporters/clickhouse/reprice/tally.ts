import { COST_STATUS, COSTS } from '../../../pipeline/batch/facts.ts'
import { usdText } from '../../../pipeline/genai/decimal.ts'
import type { RepricedModel, StoredCalls } from '../../../pipeline/reprice.ts'
import { AT, type CallRow } from './calls.ts'

const UNPRICED = 'unpriced'
/** Names come from senders: past this many models the rest share a line. */
const MAX_MODELS = 2000
const OTHER = '(other)'

interface Line {
  calls: number
  changed: number
  oldUnits: bigint
  newUnits: bigint
  oldUnpriced: number
  newUnpriced: number
}

/** What new prices change, by provider and model. */
export class Tally {
  readonly #lines = new Map<string, Map<string, Line>>()
  #count = 0

  add(call: CallRow, { facts }: StoredCalls, row: number, changed: boolean): void {
    const line = this.#line(facts.provider.at(row), facts.responseModel.at(row) || facts.requestModel.at(row))
    line.calls++
    if (changed) line.changed++
    line.oldUnits += BigInt(call[AT.CostUsd] ?? 0)
    line.newUnits += facts.cost[row * COSTS.length] ?? 0n
    if (call[AT.CostStatus] === UNPRICED) line.oldUnpriced++
    if (COST_STATUS[facts.costStatus[row] ?? 0] === UNPRICED) line.newUnpriced++
  }

  models(): readonly RepricedModel[] {
    return [...this.#lines].flatMap(([provider, models]) =>
      [...models].map(([model, { oldUnits, newUnits, ...counts }]) => ({
        provider,
        model,
        ...counts,
        oldUsd: usdText(oldUnits),
        newUsd: usdText(newUnits),
      })),
    )
  }

  #line(provider: string, model: string): Line {
    const known = this.#lines.get(provider)?.get(model)
    if (known !== undefined) return known
    if (this.#count >= MAX_MODELS && model !== OTHER) return this.#line(OTHER, OTHER)
    this.#count++
    const line = { calls: 0, changed: 0, oldUnits: 0n, newUnits: 0n, oldUnpriced: 0, newUnpriced: 0 }
    const models = this.#lines.get(provider) ?? new Map<string, Line>()
    this.#lines.set(provider, models.set(model, line))
    return line
  }
}
