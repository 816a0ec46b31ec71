import { randomUUID } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Claim, Receipt } from '../../pipeline/component.ts'
import { retry } from '../../pipeline/fault.ts'
import { quoteName } from '../../proto/clickhouse/native.ts'
import type { Connection, Settings } from './connection.ts'
import { insertFault } from './faults.ts'
import { fill, refill, type Chunk } from './feed.ts'
import { expectedOf, Holdings, type Expected } from './holdings.ts'
import { Stage, START, type Page } from './stage.ts'
import type { StoreKind } from './store-kind.ts'
import type { Target } from './target.ts'

export interface InsertOptions {
  readonly timeoutMs: number
  readonly kind: StoreKind
  /** The user's own, of each insert. */
  readonly settings: Settings
}

/**
 * Exactly once (design section 5). A frozen range is inserted under its token; the token makes a plain repeat
 * harmless. But MergeTree logs the token before it renames the part, so a kill in between swallows the repeat
 * (measured): the rows are counted in the table, and what is missing goes in under a token of its own. After an uncertain
 * insert they are counted first: a server forgets tokens in time.
 * A part holds all rows of one partition and is there or not; so what is missing is always whole partitions of
 * the range, and `token/1` means the same rows to whoever comes to use it, also while an earlier insert of it still runs.
 * Replicated tables share their tokens by Keeper, but a replica may not have the rows yet that another has acknowledged:
 * nothing is missing there until it has caught up (`StoreKind.behind`).
 */
export class Inserts {
  readonly #connection: Connection
  readonly #target: Target
  readonly #settings: Settings
  readonly #holdings: Holdings
  readonly #replicaWaitMs: number
  readonly #stage = new Stage()
  readonly #into: string
  readonly #structure: string

  constructor(connection: Connection, target: Target, { timeoutMs, kind, settings }: InsertOptions) {
    this.#connection = connection
    this.#target = target
    // Says why before the call's own deadline does.
    this.#replicaWaitMs = timeoutMs / 2
    this.#holdings = new Holdings(connection, target, kind)
    const { names, structure } = this.#stage.current.block
    this.#into = `INSERT INTO ${target.traces} (${names.map(quoteName).join(', ')})`
    this.#structure = structure
    this.#settings = {
      ...settings,
      ...kind.settings,
      async_insert: 0,
      insert_deduplicate: 1,
      // One frozen range may span any number of days; the default refuses at 100.
      throw_on_max_partitions_per_insert_block: 0,
      // One block in, one block on: the token is counted per block.
      max_insert_threads: 1,
      max_block_size: 1_000_000,
      max_insert_block_size: 1_000_000,
      // Less than the client waits, so that a time-out is the server's verdict where it can be.
      max_execution_time: Math.max(1, Math.floor((timeoutMs * 0.8) / 1000)),
    }
  }

  /** Encodes what comes next while an insert runs. */
  stage(batches: readonly Batch[]): void {
    this.#stage.prepare(batches)
  }

  /** Inserts every live span of a frozen range, each once, however often it is called for it. */
  async deliver(
    batches: readonly Batch[],
    token: string,
    uncertain: boolean,
    signal: AbortSignal,
  ): Promise<Receipt[]> {
    const receipts: Receipt[] = []
    await this.#each(batches, async (page, chunk, index) => {
      const name = index === 0 ? token : `${token}+${index}`
      const expected = expectedOf(page, batches, chunk)
      let added = 0
      if (!uncertain) await this.#insert(page, name, signal)
      // Rows written against rows sent: also a first insert may have been dropped for a token that was used before.
      if (uncertain || !(await this.#holdings.has(expected, signal))) {
        added = await this.#complete(page, batches, chunk, expected, name, uncertain ? 0 : 1, signal)
      }
      const { rows, sum, firstMs, lastMs } = expected
      receipts.push({ rows, sum, firstMs, lastMs, added })
    })
    return receipts
  }

  /** Whether the table holds what was delivered before. */
  async holds(claim: Claim, signal: AbortSignal): Promise<boolean> {
    return await this.#holdings.holds(claim, signal)
  }

  /** Inserts every live span once more, without a look at what arrived. Only a `token` tells a repeat. */
  async append(batches: readonly Batch[], signal: AbortSignal, token?: string): Promise<void> {
    await this.#each(batches, (page, _, index) =>
      this.#insert(page, token === undefined ? randomUUID() : `${token}+${index}`, signal),
    )
  }

  async #each(
    batches: readonly Batch[],
    insert: (page: Page, chunk: Chunk, index: number) => Promise<void>,
  ): Promise<void> {
    const { page, first } = this.#stage.take(batches)
    let from = START
    for (let index = 0; from.batch < batches.length; index++) {
      const chunk = (index === 0 ? first : undefined) ?? fill(page.block, page.writer, batches, from)
      if (chunk.rows === 0) break
      await insert(page, chunk, index)
      from = chunk.to
    }
    page.block.clear()
  }

  async #insert(page: Page, token: string, signal: AbortSignal): Promise<void> {
    try {
      signal.throwIfAborted()
      await this.#connection.insert(
        {
          into: this.#into,
          structure: this.#structure,
          parts: page.block.parts(),
          settings: { ...this.#settings, insert_deduplication_token: token },
        },
        signal,
      )
    } catch (error) {
      throw insertFault(error)
    }
  }

  /** The rows that were missing: inserts them, first as `token` itself where that was not tried just now. */
  async #complete(
    page: Page,
    batches: readonly Batch[],
    chunk: Chunk,
    expected: Expected,
    token: string,
    firstRound: 0 | 1,
    signal: AbortSignal,
  ): Promise<number> {
    let added = 0
    const until = performance.now() + this.#replicaWaitMs
    for (let round: number = firstRound; ;) {
      const { missing, isSure } = await this.#missing(batches, chunk, expected, signal)
      if (missing.size === 0) break
      if (round > 0 && !isSure) {
        if (performance.now() > until) throw this.#behind(missing.size, chunk.rows)
        await delay(REPLICA_PAUSE_MS, undefined, { signal }).catch(() => undefined)
        continue
      }
      if (round > MAX_ROUNDS) {
        throw retry(
          'EXPORT_UNAVAILABLE',
          `clickhouse: ${missing.size} of ${chunk.rows} rows did not appear in ${this.#target.traces}`,
        )
      }
      added = Math.max(added, missing.size)
      refill(page.block, page.writer, batches, chunk, (place) => missing.has(place))
      await this.#insert(page, round === 0 ? token : `${token}/${round}`, signal)
      round++
    }
    await this.#completeLookup(expected)
    return added
  }

  /** What a redaction or a replay has taken out is not missing: inserted now it would be there twice, and as it was before. */
  async #missing(batches: readonly Batch[], chunk: Chunk, expected: Expected, signal: AbortSignal) {
    const first = await this.#holdings.missing(batches, chunk, expected, signal)
    if (first.missing.size === 0) return first
    if (await this.#holdings.isRewriting(expected, signal)) {
      throw retry('EXPORT_UNAVAILABLE', `clickhouse: rows of ${this.#target.traces} are being rewritten`)
    }
    // Asked again: who ended between the two questions has put its rows back.
    return await this.#holdings.missing(batches, chunk, expected, signal)
  }

  #behind(missing: number, rows: number) {
    return retry(
      'EXPORT_UNAVAILABLE',
      `clickhouse: ${missing} of ${rows} rows are not on this replica of ${this.#target.traces} yet, which is behind: see system.replicas`,
    )
  }

  /** A kill between the part and the look-up's part leaves trace ids unknown there; a second row of one is harmless, readers take min and max. */
  async #completeLookup(expected: Expected): Promise<void> {
    try {
      await this.#connection.command(
        `INSERT INTO ${this.#target.traceIdTs} (TraceId, Start, End, TenantId) ` +
          `SELECT TraceId, min(Timestamp), max(Timestamp), TenantId FROM ${this.#target.traces} ` +
          `WHERE ${expected.where} AND TraceId != '' GROUP BY TenantId, TraceId ` +
          `SETTINGS async_insert = 0, throw_on_max_partitions_per_insert_block = 0`,
      )
    } catch (error) {
      throw insertFault(error)
    }
  }
}

/** Each round that does not help is one kill in the very moment between token and rename. */
const MAX_ROUNDS = 4
const REPLICA_PAUSE_MS = 100
