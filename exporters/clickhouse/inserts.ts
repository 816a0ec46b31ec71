import { randomUUID } from 'node:crypto'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { quoteName } from '../../proto/clickhouse/native.ts'
import type { Connection, Settings } from './connection.ts'
import { insertFault } from './faults.ts'
import { fill, forEachRow, refill, seqOf, walRowOf, type Chunk } from './feed.ts'
import { Stage, START, type Page } from './stage.ts'
import type { Target } from './target.ts'

/**
 * Exactly once (design section 5). A frozen range is inserted under its token; the token makes a plain repeat
 * harmless. But MergeTree logs the token before it renames the part, so a kill in between swallows the repeat
 * (measured): after an uncertain insert the rows are counted in the table, and what is missing goes in under a token
 * of its own. A part holds all rows of one partition and is there or not; so what is missing is always whole partitions of
 * the range, and `token/1` means the same rows to whoever comes to use it, also while an earlier insert of it still runs.
 */
export class Inserts {
  readonly #connection: Connection
  readonly #target: Target
  readonly #settings: Settings
  readonly #stage = new Stage()
  readonly #into: string
  readonly #structure: string

  constructor(connection: Connection, target: Target, timeoutMs: number) {
    this.#connection = connection
    this.#target = target
    const { names, structure } = this.#stage.current.block
    this.#into = `INSERT INTO ${target.traces} (${names.map(quoteName).join(', ')})`
    this.#structure = structure
    this.#settings = {
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
  ): Promise<void> {
    await this.#each(batches, async (page, chunk, index) => {
      const name = index === 0 ? token : `${token}+${index}`
      await this.#insert(page, name, signal)
      const expected = expectedOf(page, batches, chunk)
      // Rows written against rows sent: also a first insert may have been dropped for a token that was used before.
      if (uncertain || !(await this.#isThere(expected, signal))) {
        await this.#complete(page, batches, chunk, expected, name, signal)
      }
    })
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

  /** One cheap question: as many rows, and the same ids. A WAL that was made anew counts from 1 again, so numbers alone are no proof. */
  async #isThere(expected: Expected, signal: AbortSignal): Promise<boolean> {
    const { data } = await this.#select(
      `SELECT count(), toString(groupBitXor(reinterpretAsUInt64(substring(EventId, 1, 8)))) FROM ${this.#target.traces} WHERE ${expected.where}`,
      signal,
    )
    const [count, xor] = data[0] ?? []
    return Number(count) === expected.rows && xor === String(xorOf(expected.ids))
  }

  async #complete(
    page: Page,
    batches: readonly Batch[],
    chunk: Chunk,
    expected: Expected,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    for (let round = 1; ; round++) {
      const missing = await this.#missing(batches, chunk, expected, signal)
      if (missing.size === 0) break
      if (round > MAX_ROUNDS) {
        throw retry(
          'EXPORT_UNAVAILABLE',
          `clickhouse: ${missing.size} of ${chunk.rows} rows did not appear in ${this.#target.traces}`,
        )
      }
      refill(page.block, page.writer, batches, chunk, (seq, row) => missing.has(`${seq}:${row}`))
      await this.#insert(page, `${token}/${round}`, signal)
    }
    await this.#completeLookup(expected)
  }

  /** `seq:row` of the chunk's spans that the table does not hold. */
  async #missing(
    batches: readonly Batch[],
    chunk: Chunk,
    { ids, where }: Expected,
    signal: AbortSignal,
  ): Promise<Set<string>> {
    const { data } = await this.#select(
      `SELECT WalSeq, WalRow, lower(hex(EventId)) FROM ${this.#target.traces} WHERE ${where}`,
      signal,
    )
    const present = new Set(data.map((row) => row.join(':')))
    const missing = new Set<string>()
    let at = 0
    forEachRow(batches, chunk, (batch, row) => {
      const place = `${seqOf(batch)}:${walRowOf(batch, row)}`
      if (!present.has(`${place}:${ids.toString('hex', at, (at += 16))}`)) missing.add(place)
    })
    return missing
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

  async #select(sql: string, signal: AbortSignal) {
    try {
      return await this.#connection.rows(sql, {}, signal)
    } catch (error) {
      throw retry(
        'EXPORT_UNAVAILABLE',
        `clickhouse: counting after an uncertain insert: ${messageOf(error)}`,
        undefined,
        {
          cause: error,
        },
      )
    }
  }
}

interface Expected {
  /** Selects the chunk's place in the WAL. */
  readonly where: string
  readonly rows: number
  /** EventIds in the chunk's order, 16 bytes each. */
  readonly ids: Buffer
}

/** What the table must hold of the chunk that is in the page. */
function expectedOf(page: Page, batches: readonly Batch[], chunk: Chunk): Expected {
  let first: readonly [number, number] | undefined
  let last: readonly [number, number] = [0, 0]
  forEachRow(batches, chunk, (batch, row) => {
    last = [seqOf(batch), walRowOf(batch, row)]
    first ??= last
  })
  const [fromSeq, fromRow] = first ?? last
  const [toSeq, toRow] = last
  // The plain comparison is for the index, the time for the partitions.
  const where = `WalSeq BETWEEN ${fromSeq} AND ${toSeq} AND (WalSeq, WalRow) BETWEEN (${fromSeq}, ${fromRow}) AND (${toSeq}, ${toRow})${page.writer.timeFilter}`
  return { where, rows: chunk.rows, ids: Buffer.from(page.block.columns.EventId.view()) }
}

/** Over the first 8 bytes of each id, as `reinterpretAsUInt64` reads them. */
function xorOf(ids: Buffer): bigint {
  let low = 0
  let high = 0
  for (let at = 0; at < ids.length; at += 16) {
    low ^= ids.readInt32LE(at)
    high ^= ids.readInt32LE(at + 4)
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

/** Each round that does not help is one kill in the very moment between token and rename. */
const MAX_ROUNDS = 4
