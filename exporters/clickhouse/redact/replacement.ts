import { randomBytes } from 'node:crypto'
import type { Batch } from '../../../pipeline/batch/batch.ts'
import { retry } from '../../../pipeline/fault.ts'
import { quoteName, quoteText } from '../../../proto/clickhouse/native.ts'
import { SpanBlock } from '../block.ts'
import type { Connection } from '../connection.ts'
import { fill } from '../feed.ts'
import { settleMutations } from '../mutations.ts'
import { SpanWriter } from '../span-writer.ts'
import { START } from '../stage.ts'
import type { Target } from '../target.ts'
import { TEXT_COLUMNS } from './rows.ts'

export interface RedactPlace {
  readonly connection: Connection
  readonly target: Target
  /** Other processes may work on it. */
  readonly isShared: boolean
  /** Once old rows are deleted nothing else keeps from putting in the new ones: not a cancel, nor a deadline. */
  readonly ending: AbortSignal
}

const PARTS = ['texts', 'rows', 'moving'] as const
/** How the name of a table ends whose rows may be nowhere else. */
export const MOVING = '_moving'

/** 2100-01-01. What starts past the range of a `Date` is in a partition of another day (measured). */
const MAX_NS = 4_102_444_800_000_000_000

/**
 * Rows on their way to being replaced, by redaction or replay, in tables on disk: `…_texts`, what comes out of it; `…_rows`,
 * the whole new rows; `…_moving`, the same from when the old ones are deleted, since then the rows may be nowhere else. Who
 * comes after, whatever ended the run, deletes and inserts again what is in that one. New rows have the places (`WalSeq`,
 * `WalRow`) of the old ones: by them a delivery that is repeated meanwhile sees that its rows are not missing
 * (`Holdings.isRewriting`), and one that is repeated later that they are there.
 */
export class Replacement {
  readonly name: string
  readonly #place: RedactPlace
  readonly #block = new SpanBlock()
  readonly #writer = new SpanWriter(this.#block)
  #rows = 0

  constructor(place: RedactPlace, name?: string) {
    this.#place = place
    this.name = name ?? `${prefixOf(place.target)}${randomBytes(8).toString('hex')}`
  }

  /** Rows that were added. */
  get rows(): number {
    return this.#rows
  }

  async add(batches: readonly Batch[], signal: AbortSignal): Promise<void> {
    const { connection } = this.#place
    const texts = this.#table('texts')
    if (this.#rows === 0) {
      await connection.command(
        `CREATE TABLE ${texts} (${this.#block.structure}) ENGINE = MergeTree ORDER BY tuple()`,
      )
    }
    for (let from = START; from.batch < batches.length;) {
      const chunk = fill(this.#block, this.#writer, batches, from)
      const into = `INSERT INTO ${texts} (${this.#block.names.map(quoteName).join(', ')})`
      const { structure } = this.#block
      await connection.insert(
        {
          into,
          structure,
          parts: this.#block.parts(),
          settings: { async_insert: 0, throw_on_max_partitions_per_insert_block: 0 },
        },
        signal,
      )
      this.#block.clear()
      this.#rows += chunk.rows
      from = chunk.to
    }
  }

  /** Makes the new rows of the old ones and the texts that were added. Resolves once they are on disk, whole. */
  async complete(): Promise<void> {
    const { connection, target } = this.#place
    const texts = this.#table('texts')
    const changes = TEXT_COLUMNS.map((column) => `c.${quoteName(column)} AS ${quoteName(column)}`).join(', ')
    await connection.command(
      `CREATE TABLE ${this.#table('rows')} ENGINE = MergeTree ORDER BY tuple() AS ` +
        `SELECT t.* REPLACE (${changes}) FROM ${target.traces} AS t ` +
        `INNER JOIN ${texts} AS c ON t.EventId = c.EventId AND t.WalSeq = c.WalSeq AND t.WalRow = c.WalRow ` +
        `WHERE t.EventId IN (SELECT EventId FROM ${texts})`,
    )
  }

  /** Makes them of whole spans that were added: each at every place where `held` finds it in the table, else at its own. */
  async completeWhole(held: string): Promise<void> {
    const { connection, target } = this.#place
    // Archives do not know the project.
    const kept = ['WalSeq', 'WalRow', 'ProjectId'].map((column) => {
      const isKept = column === 'ProjectId' ? " AND c.ProjectId = ''" : ''
      return `if(t.EventId = c.EventId${isKept}, t.${column}, c.${column}) AS ${column}`
    })
    await connection.command(
      `CREATE TABLE ${this.#table('rows')} ENGINE = MergeTree ORDER BY tuple() AS ` +
        `SELECT c.* REPLACE (${kept.join(', ')}) FROM ${this.#table('texts')} AS c ` +
        `LEFT JOIN (SELECT EventId, WalSeq, WalRow, ProjectId FROM ${target.traces} WHERE ${held}) AS t ON t.EventId = c.EventId ` +
        'SETTINGS join_use_nulls = 0',
    )
  }

  /** From here on the rows may be nowhere else. False: there are none. */
  async begin(): Promise<boolean> {
    const { connection, target, ending: signal } = this.#place
    const { data: left } = await connection.rows(
      'SELECT name FROM system.tables WHERE database = {database:String} AND name IN {names:Array(String)}',
      { database: target.database, names: [`${this.name}_rows`, `${this.name}${MOVING}`] },
      signal,
    )
    if (left.length === 0) return false
    if (String(left[0]?.[0]).endsWith('_rows'))
      await connection.command(`RENAME TABLE ${this.#table('rows')} TO ${this.#table('moving')}`)
    return true
  }

  /** Puts the new rows in place of the old. Whatever an earlier attempt has left is no matter; without tables all is done. `fence` throws once somebody else is at it. */
  async apply(fence: () => Promise<void>): Promise<void> {
    if (!(await this.begin())) return
    const { connection, target, ending: signal } = this.#place
    const where = await this.#where()
    // An attempt that was interrupted may still be deleting: after the insert it would take the new rows.
    await settleMutations(this.#place, this.name, signal)
    const { data } = await connection.rows(
      `SELECT DISTINCT _partition_id FROM ${target.traces} WHERE ${where}`,
      {},
      signal,
    )
    const partitions = data.map(([partition]) => String(partition))
    await fence()
    for (const partition of partitions) {
      await connection.command(
        `ALTER TABLE ${target.traces} DELETE IN PARTITION ID ${quoteText(partition)} WHERE ${where} SETTINGS mutations_sync = 0`,
      )
    }
    await settleMutations(this.#place, this.name, signal)
    await fence()
    await this.putIn()
  }

  /** The last step, once the old rows are deleted. */
  async putIn(): Promise<void> {
    const { connection, target, ending: signal } = this.#place
    const rows = this.#table('moving')
    const { data } = await connection.rows(
      'SELECT name FROM system.columns WHERE database = {database:String} AND table = {table:String} ORDER BY position',
      { database: target.database, table: `${this.name}${MOVING}` },
      signal,
    )
    const columns = data.map(([name]) => quoteName(String(name))).join(', ')
    await connection.command(
      `INSERT INTO ${target.traces} (${columns}) SELECT ${columns} FROM ${rows} SETTINGS async_insert = 0, insert_deduplicate = 0, throw_on_max_partitions_per_insert_block = 0`,
    )
    const [stored, wanted] = await this.#counts(rows, await this.#where(), signal)
    if (stored !== wanted) {
      throw retry('EXPORT_UNAVAILABLE', `clickhouse: ${stored} of ${wanted} rows are in ${target.traces}`)
    }
  }

  /** The rows in the table that have the places of the new ones; the time is for the partitions. */
  async #where(): Promise<string> {
    const { connection, ending } = this.#place
    const rows = this.#table('moving')
    const { data } = await connection.rows(
      `SELECT toString(toUnixTimestamp64Nano(min(Timestamp))), toString(toUnixTimestamp64Nano(max(Timestamp))) FROM ${rows}`,
      {},
      ending,
    )
    const [first, last] = (data[0] ?? []).map(Number) as [number, number]
    const [from, to] = (data[0] ?? []).map((ns) => `fromUnixTimestamp64Nano(${String(ns)})`)
    const time = first >= 0 && last < MAX_NS ? ` AND Timestamp BETWEEN ${from} AND ${to}` : ''
    return `(EventId, WalSeq, WalRow) IN (SELECT EventId, WalSeq, WalRow FROM ${rows})${time}`
  }

  async #counts(rows: string, where: string, signal: AbortSignal): Promise<readonly [string, string]> {
    const { connection, target } = this.#place
    const { data } = await connection.rows(
      `SELECT toString(count()), (SELECT toString(count()) FROM ${rows}) FROM ${target.traces} WHERE ${where}`,
      {},
      signal,
    )
    return [String(data[0]?.[0]), String(data[0]?.[1])]
  }

  async remove(): Promise<void> {
    for (const part of PARTS) await drop(this.#place, `${this.name}_${part}`)
  }

  #table(part: (typeof PARTS)[number]): string {
    return `${quoteName(this.#place.target.database)}.${quoteName(`${this.name}_${part}`)}`
  }
}

export function prefixOf(target: Target): string {
  return `${target.tracesName}_redact_`
}

export async function drop({ connection, target }: RedactPlace, name: string): Promise<void> {
  await connection.command(`DROP TABLE IF EXISTS ${quoteName(target.database)}.${quoteName(name)} SYNC`)
}
