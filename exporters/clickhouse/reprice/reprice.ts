import { faultOf, messageOf, retry } from '../../../pipeline/fault.ts'
import type { Reprice, RepriceRequest, RepriceResult } from '../../../pipeline/reprice.ts'
import type { Reader } from '../connection.ts'
import { callParams, differs, selectCalls, storedCalls, type CallRow, type Slice } from './calls.ts'
import { Changes } from './changes.ts'
import { Rewriter, type Store } from './rewriter.ts'
import { slices } from './slices.ts'
import { Tally } from './tally.ts'

/** Changes rewritten by one mutation: about 50 MB in ClickHouse's memory. */
const MAX_CHANGES = 250_000
/** For the last mutation, past the budget. */
const MUTATION_MS = 20_000

const READER = {
  max_threads: 2,
  max_memory_usage: 1 << 30,
  max_execution_time: 60,
  output_format_json_quote_64bit_integers: 1,
}

/**
 * Reads the calls of a time, has them priced again and rewrites those that come out differently. Ends when the budget is
 * spent, at a place in time that it tells; what it has told as done is written, or is being written by ClickHouse and
 * waited for by the next request.
 */
export async function repriceTable(
  store: Store,
  request: RepriceRequest,
  price: Reprice,
  signal: AbortSignal,
): Promise<RepriceResult> {
  const endMs = performance.now() + request.budgetMs
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(request.budgetMs + MUTATION_MS)])
  const rewriter = new Rewriter(store)
  if (!request.dryRun && !(await rewriter.settle(deadline))) return { models: [], nextMs: request.fromMs }
  const reader = await store.connection.reader(READER)
  try {
    return await new Run(store, request, price, reader, rewriter).until(endMs, deadline)
  } catch (error) {
    throw (
      faultOf(error) ??
      retry('QUERY_FAILED', `clickhouse: reprice: ${messageOf(error)}`, undefined, { cause: error })
    )
  } finally {
    await reader.close()
  }
}

class Run {
  readonly #store: Store
  readonly #request: RepriceRequest
  readonly #price: Reprice
  readonly #reader: Reader
  readonly #rewriter: Rewriter
  readonly #tally = new Tally()
  readonly #changes = new Changes()

  constructor(store: Store, request: RepriceRequest, price: Reprice, reader: Reader, rewriter: Rewriter) {
    this.#store = store
    this.#request = request
    this.#price = price
    this.#reader = reader
    this.#rewriter = rewriter
  }

  async until(endMs: number, deadline: AbortSignal): Promise<RepriceResult> {
    const { fromMs, toMs, tenant } = this.#request
    const { target } = this.#store
    // A span without a start was priced by when it came, which no column holds.
    const scope = {
      reader: this.#reader,
      target,
      fromMs: Math.max(fromMs, 1),
      toMs,
      tenant,
      signal: deadline,
    }
    for await (const slice of slices(scope)) {
      await this.#take(slice, deadline)
      if (slice.part + 1 < slice.parts) continue
      const isLate = performance.now() >= endMs
      if (this.#changes.rows < MAX_CHANGES && !isLate) continue
      if (!(await this.#write(deadline)) || isLate) return this.#result(slice.toMs)
    }
    return this.#result((await this.#write(deadline)) ? undefined : toMs)
  }

  async #take(slice: Slice, signal: AbortSignal): Promise<void> {
    const { tenant } = this.#request
    const { data } = await this.#reader.rows(
      selectCalls(this.#store.target, tenant, slice),
      { ...callParams(slice.fromMs, slice.toMs, tenant), parts: slice.parts, part: slice.part },
      signal,
    )
    const rows = data as readonly CallRow[]
    const calls = storedCalls(rows)
    this.#price(calls)
    for (const [row, call] of rows.entries()) {
      const changed = differs(call, calls, row)
      this.#tally.add(call, calls, row, changed)
      if (changed && !this.#request.dryRun) this.#changes.add(call, calls, row)
    }
  }

  async #write(deadline: AbortSignal): Promise<boolean> {
    const isWritten = await this.#rewriter.write(this.#changes, deadline)
    this.#changes.clear()
    return isWritten
  }

  #result(nextMs: number | undefined): RepriceResult {
    const models = this.#tally.models()
    const calls = models.reduce((sum, each) => sum + each.calls, 0)
    const changed = models.reduce((sum, each) => sum + each.changed, 0)
    if (changed > 0 && !this.#request.dryRun) {
      const { fromMs, tenant } = this.#request
      const from = new Date(fromMs).toISOString()
      const to = new Date(nextMs ?? this.#request.toMs).toISOString()
      this.#store.log.info({ calls, changed, from, to, tenant }, 'clickhouse: stored calls were priced again')
    }
    return { models, nextMs }
  }
}
