import type { Batch } from '../../pipeline/batch/batch.ts'
import type { Claim } from '../../pipeline/component.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import type { Answer, Connection } from './connection.ts'
import { settingsClause } from './connection.ts'
import { forEachRow, placeOf, seqOf, walRowOf, type Chunk } from './feed.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import { areMoving } from './redact/abandoned.ts'
import type { Page } from './stage.ts'
import type { StoreKind } from './store-kind.ts'
import type { Target } from './target.ts'

/** What the table must hold of a chunk. */
export interface Expected {
  /** Selects the chunk's place in the WAL. */
  readonly where: string
  readonly rows: number
  /** As in a receipt. */
  readonly sum: string
  readonly firstMs: number
  readonly lastMs: number
  /** EventIds in the chunk's order, 16 bytes each. */
  readonly ids: Buffer
}

/** What is asked of the table about a chunk. */
export class Holdings {
  readonly #connection: Connection
  readonly #target: Target
  readonly #kind: StoreKind
  readonly #reading: string

  constructor(connection: Connection, target: Target, kind: StoreKind) {
    this.#connection = connection
    this.#target = target
    this.#kind = kind
    this.#reading = settingsClause({ ...connection.counting, ...kind.reading }, quoteText)
  }

  /** One cheap question: as many rows, and the same ids. A WAL that was made anew counts from 1 again, so numbers alone are no proof. */
  async has({ where, rows, sum }: Expected, signal: AbortSignal): Promise<boolean> {
    return await this.#counts(where, rows, sum, signal)
  }

  /** The same of what was delivered before; false may also mean that somebody else writes in the same place. */
  async holds({ from, to, rows, sum, firstMs, lastMs }: Claim, signal: AbortSignal): Promise<boolean> {
    const where = `WalSeq BETWEEN ${from} AND ${to}${timeFilter(firstMs, lastMs)}`
    return await this.#counts(where, rows, sum, signal)
  }

  async #counts(where: string, rows: number, sum: string, signal: AbortSignal): Promise<boolean> {
    const { data } = await this.#select(
      `SELECT count(), lower(hex(groupBitXor(reinterpretAsUInt64(substring(EventId, 1, 8))))) FROM ${this.#target.traces} WHERE ${where} ${this.#reading}`,
      signal,
    )
    const [count, xor] = data[0] ?? []
    return Number(count) === rows && xor === sum.padStart(16, '0')
  }

  /** Places (`placeOf`) of the chunk's spans that the table does not hold; sure where no other replica can hold them either. */
  async missing(
    batches: readonly Batch[],
    chunk: Chunk,
    { ids, where }: Expected,
    signal: AbortSignal,
  ): Promise<{ readonly missing: ReadonlySet<string>; readonly isSure: boolean }> {
    const caughtUp = await this.#caughtUp(signal)
    const { data } = await this.#select(
      `SELECT toString(serverUUID()), groupArray((WalSeq, WalRow, lower(hex(EventId)))) FROM ${this.#target.traces} WHERE ${where} ${this.#reading}`,
      signal,
    )
    const [server, rows] = (data[0] ?? []) as [string, (readonly unknown[])[]]
    const present = new Set(rows.map((row) => row.join(':')))
    const missing = new Set<string>()
    let at = 0
    forEachRow(batches, chunk, (batch, row) => {
      const place = placeOf(batch, row)
      if (!present.has(`${place}:${ids.toString('hex', at, (at += 16))}`)) missing.add(place)
    })
    return { missing, isSure: caughtUp === undefined || caughtUp === server }
  }

  /** A redaction or a replay has taken such rows out of the table, and puts new ones in their place. */
  async isRewriting({ where }: Expected, signal: AbortSignal): Promise<boolean> {
    const place = { connection: this.#connection, target: this.#target, ending: signal }
    return await asked(areMoving(place, where))
  }

  /**
   * The server that has caught up: what it lacks when it is asked *after* this is not to come. A load balancer may ask
   * another, so its id comes along. '' while it is behind, undefined where none can be.
   */
  async #caughtUp(signal: AbortSignal): Promise<string | undefined> {
    const { behind } = this.#kind
    if (behind === undefined) return undefined
    const { data } = await this.#select(`SELECT toString(serverUUID()), toUInt64(${behind})`, signal)
    const [server, lag] = data[0] ?? []
    return Number(lag) === 0 ? String(server) : ''
  }

  #select(sql: string, signal: AbortSignal): Promise<Answer> {
    return asked(this.#connection.rows(sql, {}, signal))
  }
}

async function asked<T>(answer: Promise<T>): Promise<T> {
  try {
    return await answer
  } catch (error) {
    const text = `clickhouse: counting after an insert: ${messageOf(error)}`
    throw retry('EXPORT_UNAVAILABLE', text, undefined, { cause: error })
  }
}

/** What the table must hold of the chunk that is in the page. */
export function expectedOf(page: Page, batches: readonly Batch[], chunk: Chunk): Expected {
  let first: readonly [number, number] | undefined
  let last: readonly [number, number] = [0, 0]
  forEachRow(batches, chunk, (batch, row) => {
    last = [seqOf(batch), walRowOf(batch, row)]
    first ??= last
  })
  const [fromSeq, fromRow] = first ?? last
  const [toSeq, toRow] = last
  // The plain comparison is for the index, the time for the partitions.
  const { firstMs, lastMs } = page.writer
  const where = `WalSeq BETWEEN ${fromSeq} AND ${toSeq} AND (WalSeq, WalRow) BETWEEN (${fromSeq}, ${fromRow}) AND (${toSeq}, ${toRow})${timeFilter(firstMs, lastMs)}`
  const ids = page.block.eventIds()
  return { where, rows: chunk.rows, sum: xorOf(ids).toString(16), firstMs, lastMs, ids }
}

/** 2262-04-11: the end of 63 bits of nanoseconds. */
const MAX_MS = 9_223_372_036_000

/** ` AND Timestamp …`; nothing where a time does not fit into a DateTime64(9). */
function timeFilter(firstMs: number, lastMs: number): string {
  const [first, last] = [Math.floor(firstMs) - 1, Math.ceil(lastMs) + 1]
  if (!(last < MAX_MS)) return ''
  return ` AND Timestamp BETWEEN fromUnixTimestamp64Milli(${first}) AND fromUnixTimestamp64Milli(${last})`
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
