import { randomBytes } from 'node:crypto'
import { nativeBlock, nativeStructure, quoteName, quoteText } from '../../../proto/clickhouse/native.ts'
import type { Connection } from '../connection.ts'
import { settleMutations } from '../mutations.ts'
import { areMoving } from '../redact/abandoned.ts'
import type { Target } from '../target.ts'
import type { SpanIds } from './span-ids.ts'

/** On a server another daemon may be using its own. */
const ABANDONED_SECONDS = 3600

interface Place {
  readonly connection: Connection
  readonly target: Target
  /** Other processes may work on it. */
  readonly isShared: boolean
}

/**
 * The ids of one composition as a table, to be joined with: far more than fit into a statement. On disk, so that a
 * mutation that uses it can be finished by ClickHouse itself after a kill.
 */
export class IdTable {
  readonly #place: Place
  readonly name: string
  /** Selects the rows of these ids. */
  readonly where: string

  private constructor(place: Place, name: string, where: string) {
    this.#place = place
    this.name = name
    this.where = where
  }

  static async make(place: Place, ids: SpanIds, signal: AbortSignal): Promise<IdTable> {
    const { connection, target } = place
    const name = `${prefixOf(target)}${randomBytes(8).toString('hex')}`
    const table = `${quoteName(target.database)}.${quoteName(name)}`
    const column = ids.column('Id')
    const structure = nativeStructure([column])
    await connection.command(`CREATE TABLE ${table} (${structure}) ENGINE = MergeTree ORDER BY tuple()`)
    const into = `INSERT INTO ${table} (Id)`
    const parts = nativeBlock([column], ids.size)
    await connection.insert({ into, structure, parts, settings: { async_insert: 0 } }, signal)
    return new IdTable(place, name, `EventId IN (SELECT Id FROM ${table})${ids.place}`)
  }

  /** How many of the ids the table of spans holds. */
  async count(signal: AbortSignal): Promise<number> {
    const { connection, target } = this.#place
    const sql = `SELECT uniqExact(EventId) FROM ${target.traces} WHERE ${this.where}`
    const { data } = await connection.rows(sql, {}, signal)
    return Number(data[0]?.[0])
  }

  /** Some of them are out of the table, to be put back by whoever comes back to it. */
  async areMoving(ending: AbortSignal): Promise<boolean> {
    return await areMoving({ ...this.#place, ending }, this.where)
  }

  /** Which: 16 bytes as latin-1. */
  async held(signal: AbortSignal): Promise<Set<string>> {
    const { connection, target } = this.#place
    const sql = `SELECT DISTINCT hex(EventId) FROM ${target.traces} WHERE ${this.where}`
    const { data } = await connection.rows(sql, {}, signal)
    return new Set(data.map(([hex]) => Buffer.from(String(hex), 'hex').toString('latin1')))
  }

  /**
   * Deletes these spans, bytes and all. Resolves when no part of theirs holds them any more; ClickHouse then still goes
   * through the parts of other partitions, some ten a second, and needs the ids until it has: see `cleanUp`.
   */
  async deleteSpans(signal: AbortSignal): Promise<void> {
    const { connection, target } = this.#place
    const sql = `SELECT DISTINCT _partition_id FROM ${target.traces} WHERE ${this.where}`
    const { data } = await connection.rows(sql, {}, signal)
    const partitions = data.map(([partition]) => String(partition))
    for (const partition of partitions) {
      await connection.command(
        `ALTER TABLE ${target.traces} DELETE IN PARTITION ID ${quoteText(partition)} WHERE ${this.where} SETTINGS mutations_sync = 0`,
      )
    }
    await settleMutations(this.#place, this.name, signal, partitions)
  }
}

/** Waits for what ClickHouse goes on with by itself, after a kill too, and removes what was needed for it. */
export async function cleanUp(place: Place, own: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
  await settleMutations(place, prefixOf(place.target), signal)
  await removeUsed(place, own, signal)
}

/** Removes tables of ids that no mutation needs: one's own, and those that nobody came back to. */
export async function removeUsed(place: Place, own: ReadonlySet<string>, signal: AbortSignal): Promise<void> {
  const { connection, target, isShared } = place
  const { data } = await connection.rows(
    "SELECT name FROM system.tables WHERE database = {database:String} AND startsWith(name, {prefix:String}) AND (metadata_modification_time <= now() - {age:UInt32} OR name IN {own:Array(String)}) AND name NOT IN (SELECT extract(command, concat({prefix:String}, '[0-9a-f]+')) FROM system.mutations WHERE database = {database:String} AND table = {table:String} AND NOT is_done)",
    {
      database: target.database,
      table: target.tracesName,
      prefix: prefixOf(target),
      age: isShared ? ABANDONED_SECONDS : 0,
      own: [...own],
    },
    signal,
  )
  for (const [name] of data) await drop(place, String(name))
}

function prefixOf(target: Target): string {
  return `${target.tracesName}_replay_`
}

async function drop({ connection, target }: Place, name: string): Promise<void> {
  await connection.command(`DROP TABLE IF EXISTS ${quoteName(target.database)}.${quoteName(name)} SYNC`)
}
