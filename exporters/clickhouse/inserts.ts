import type { Batch } from '../../pipeline/batch/batch.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { quoteName } from '../../proto/clickhouse/native.ts'
import { SpanBlock } from './block.ts'
import type { Connection, Settings } from './connection.ts'
import { insertFault } from './faults.ts'
import { fill, forEachRow, refill, seqOf, walRowOf, type Chunk, type Place } from './feed.ts'
import { SpanWriter } from './span-writer.ts'
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
  readonly #block = new SpanBlock()
  readonly #writer = new SpanWriter(this.#block)
  readonly #into: string
  readonly #structure: string

  constructor(connection: Connection, target: Target, timeoutMs: number) {
    this.#connection = connection
    this.#target = target
    this.#into = `INSERT INTO ${target.traces} (${this.#block.names.map(quoteName).join(', ')})`
    this.#structure = this.#block.structure
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

  /** Inserts every live span, each once, however often it is called for the same range. */
  async deliver(
    batches: readonly Batch[],
    token: string,
    uncertain: boolean,
    signal: AbortSignal,
  ): Promise<void> {
    let from: Place = { batch: 0, row: 0 }
    for (let index = 0; from.batch < batches.length; index++) {
      const chunk = fill(this.#block, this.#writer, batches, from)
      from = chunk.to
      if (chunk.rows === 0) break
      const name = index === 0 ? token : `${token}+${index}`
      const read = await this.#insert(name, signal)
      // Fewer than sent: the token was known (0, when ClickHouse dropped the block), which is no proof either.
      if (uncertain || read !== chunk.rows) await this.#complete(batches, chunk, name, signal)
    }
    this.#block.clear()
  }

  async #insert(token: string, signal: AbortSignal): Promise<number> {
    try {
      signal.throwIfAborted()
      return await this.#connection.insert(
        {
          into: this.#into,
          structure: this.#structure,
          parts: this.#block.parts(),
          settings: { ...this.#settings, insert_deduplication_token: token },
        },
        signal,
      )
    } catch (error) {
      throw insertFault(error)
    }
  }

  /** Counts the chunk in the table and inserts what is not there. */
  async #complete(
    batches: readonly Batch[],
    chunk: Chunk,
    token: string,
    signal: AbortSignal,
  ): Promise<void> {
    const expected = this.#expected(batches, chunk)
    for (let round = 1; ; round++) {
      const missing = await this.#missing(expected, signal)
      if (missing.size === 0) break
      if (round > MAX_ROUNDS) {
        throw retry(
          'EXPORT_UNAVAILABLE',
          `clickhouse: ${missing.size} of ${chunk.rows} rows did not appear in ${this.#target.traces}`,
        )
      }
      refill(this.#block, this.#writer, batches, chunk, (seq, row) => missing.has(`${seq}:${row}`))
      await this.#insert(`${token}/${round}`, signal)
    }
    await this.#completeLookup(expected)
  }

  /** The chunk that is in the block, span by span. */
  #expected(batches: readonly Batch[], chunk: Chunk): Expected {
    const ids = this.#block.columns.EventId.sink.view()
    const spans = new Map<string, string>()
    let [first, last, n] = [Infinity, 0, 0]
    forEachRow(batches, chunk, (batch, row) => {
      const seq = seqOf(batch)
      spans.set(`${seq}:${walRowOf(batch, row)}`, ids.toString('hex', n * 16, ++n * 16))
      first = Math.min(first, seq)
      last = Math.max(last, seq)
    })
    return { spans, where: `WalSeq BETWEEN ${first} AND ${last}` }
  }

  /** `seq:row` of the chunk's spans that the table does not hold. A WAL that was made anew counts from 1 again: the id decides. */
  async #missing(expected: Expected, signal: AbortSignal): Promise<Set<string>> {
    const missing = new Set(expected.spans.keys())
    const { data } = await this.#select(
      `SELECT WalSeq, WalRow, lower(hex(EventId)) FROM ${this.#target.traces} WHERE ${expected.where}`,
      signal,
    )
    for (const [seq, row, id] of data) {
      const place = `${String(seq)}:${String(row)}`
      if (expected.spans.get(place) === id) missing.delete(place)
    }
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
  /** `seq:row` → EventId in hexadecimal. */
  readonly spans: ReadonlyMap<string, string>
  readonly where: string
}

/** Each round that does not help is one kill in the very moment between token and rename. */
const MAX_ROUNDS = 4
