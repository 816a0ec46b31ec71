import { COSTS, TOKENS } from '../../pipeline/batch/facts.ts'
import { halves } from '../../pipeline/batch/halves.ts'
import { usdText } from '../../pipeline/genai/decimal.ts'
import { splitUsage, type Usage } from '../../pipeline/genai/usage.ts'
import { NO_USAGE } from '../../pipeline/usage/usage.ts'
import { PriceBook } from '../../processors/cost/book.ts'
import { calculate } from '../../processors/cost/calculate.ts'
import { config } from '../../processors/cost/config.ts'
import { CostProcessor } from '../../processors/cost/cost.ts'
import { NO_SERVICE } from '../../processors/cost/rates.ts'
import { builtInTable, readTable } from '../../processors/cost/table.ts'

/** The prices that come with weir, for checks that need no pipeline. */

const SILENT = {
  add: () => undefined,
  set: () => undefined,
  remove: () => undefined,
  observe: () => undefined,
}
const METER = { counter: () => SILENT, gauge: () => SILENT, histogram: () => SILENT }

export async function costProcessor(settings: object = {}): Promise<CostProcessor> {
  const processor = new CostProcessor(config.parse(settings), { meter: METER, usage: NO_USAGE })
  await processor.start()
  return processor
}

export async function builtInBook(priceFile?: string): Promise<PriceBook> {
  return new PriceBook(await (priceFile === undefined ? builtInTable() : readTable(priceFile)))
}

/** [input with caches, output] in decimal USD; undefined where there is no price. */
export function priceOf(
  book: PriceBook,
  provider: string,
  model: string,
  usage: Usage,
  atMs: number,
): readonly [string, string] | undefined {
  const tokens = new Uint32Array(TOKENS.length)
  const costs = new BigInt64Array(COSTS.length)
  splitUsage(usage, tokens, 0)
  const terms = { input: usage.input, service: NO_SERVICE, geo: '', fast: false }
  const card = book.find(provider, model)?.card(atMs, terms)
  if (card === undefined || calculate(card, tokens, 0, halves(costs), 0) !== 'computed') return undefined
  const [, input = 0n, read = 0n, write = 0n, output = 0n] = costs
  return [usdText(input + read + write), usdText(output)]
}
