import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Processor } from '../../pipeline/component.ts'
import { messageOf, reject } from '../../pipeline/fault.ts'
import { COSTS, type SpanFacts } from '../../pipeline/batch/facts.ts'
import { halves } from '../../pipeline/batch/halves.ts'
import { factsOf } from '../../pipeline/genai/facts-of.ts'
import type { Context } from '../../pipeline/factory.ts'
import type { Reprice } from '../../pipeline/reprice.ts'
import { accountsOf, type Usage } from '../../pipeline/usage/usage.ts'
import { PriceBook } from './book.ts'
import type { CostConfig } from './config.ts'
import { Counters } from './counters.ts'
import { Overrides } from './overrides.ts'
import { Pricer } from './pricer.ts'
import { builtInTable, readTable } from './table.ts'

/** Fills the cost columns of every span that carries a model call, in place; rejects and drops nothing. */
export class CostProcessor implements Processor {
  readonly #config: CostConfig
  readonly #overrides: Overrides
  readonly #counters: Counters | undefined
  /** Absent behind any but the first exporter. */
  readonly #usage: Usage | undefined
  #pricer: Pricer | undefined

  constructor(config: CostConfig, context: Pick<Context, 'meter' | 'counts' | 'usage'>) {
    this.#config = config
    this.#overrides = new Overrides(config.overrides)
    this.#counters = context.counts === false ? undefined : new Counters(context.meter)
    this.#usage = context.counts === false ? undefined : context.usage
  }

  async start(): Promise<void> {
    this.#pricer = new Pricer(await openBook(this.#config.price_file), this.#overrides)
  }

  process(batch: Batch): void {
    const facts = factsOf(batch)
    const pricer = this.#started().of(facts)
    const { tenant, receivedAtMs } = batch.meta
    for (let row = 0; row < facts.rows; row++) {
      if (facts.leaf[row] === 1) pricer.price(row, tenant, batch.startMs(row) || receivedAtMs)
    }
    const costs = halves(facts.cost)
    this.#counters?.add(facts, costs, (row) => batch.isLive(row))
    this.#spend(batch, facts, costs)
  }

  readonly reprice: Reprice = ({ facts, tenants, startMs }) => {
    const pricer = this.#started().of(facts)
    for (let row = 0; row < facts.rows; row++) pricer.price(row, tenants[row] ?? '', startMs[row] ?? 0)
  }

  #started(): Pricer {
    if (this.#pricer === undefined) throw reject('START_FAILED', 'cost: used before it was started')
    return this.#pricer
  }

  /** What daily quotas are measured by (processor limits). */
  #spend({ meta }: Batch, facts: SpanFacts, costs: Uint32Array): void {
    if (this.#usage === undefined) return
    // Two sums of 32-bit words, exact as numbers: no batch has 2^21 spans.
    let low = 0
    let high = 0
    for (let row = 0; row < facts.rows; row++) {
      if (facts.leaf[row] !== 1) continue
      low += costs[row * COSTS.length * 2] ?? 0
      high += costs[row * COSTS.length * 2 + 1] ?? 0
    }
    if (low === 0 && high === 0) return
    const picoUsd = (BigInt(high) << 32n) + BigInt(low)
    for (const account of accountsOf(meta.tenant, meta.project)) {
      this.#usage.add(account, meta.receivedAtMs, { picoUsd })
    }
  }
}

let builtIn: PriceBook | undefined

async function openBook(path: string | undefined): Promise<PriceBook> {
  if (path === undefined) return (builtIn ??= new PriceBook(await builtInTable()))
  try {
    return new PriceBook(await readTable(path))
  } catch (cause) {
    throw reject('START_FAILED', `cost: price_file ${path} cannot be used: ${messageOf(cause)}`, { cause })
  }
}
