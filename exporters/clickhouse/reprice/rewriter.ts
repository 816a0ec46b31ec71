import { randomBytes } from 'node:crypto'
import { messageOf, retry } from '../../../pipeline/fault.ts'
import { sleep } from '../../../pipeline/sleep.ts'
import type { Log } from '../../../pipeline/telemetry/log.ts'
import { quoteName, quoteText } from '../../../proto/clickhouse/native.ts'
import type { Connection } from '../connection.ts'
import type { Target } from '../target.ts'
import { ROW_KEY } from './calls.ts'
import type { Changes } from './changes.ts'

const POLL_MS = 200
/** A mutation that fails is tried again by ClickHouse, and holds up those after it: past this many polls it is taken back. */
const MAX_FAILED_POLLS = 25
/** On a server another daemon may be between filling its table and starting the mutation. */
const ABANDONED_SECONDS = 3600

export interface Store {
  readonly connection: Connection
  readonly target: Target
  readonly log: Log
  /** Other processes may work on it. */
  readonly isShared: boolean
}

interface Mutation {
  readonly id: string
  readonly failure: string
}

/**
 * Rewrites cost columns by `ALTER TABLE … UPDATE` per partition, from a table of changes that lives as long as the
 * mutation: ClickHouse finishes it by itself, also when this process is killed. It touches the parts there are when it
 * is given; inserts in flight go into parts of their own.
 */
export class Rewriter {
  readonly #connection: Connection
  readonly #target: Target
  readonly #log: Log
  readonly #isShared: boolean
  /** Names of change tables begin so. */
  readonly #prefix: string

  constructor({ connection, target, log, isShared }: Store) {
    this.#connection = connection
    this.#target = target
    this.#log = log
    this.#isShared = isShared
    this.#prefix = `${target.tracesName}_reprice_`
  }

  /** Starts rewriting. `false`: it had not ended by the deadline and goes on; `settle` waits for it. */
  async write(changes: Changes, deadline: AbortSignal): Promise<boolean> {
    if (changes.rows === 0) return true
    const name = `${this.#prefix}${randomBytes(8).toString('hex')}`
    const table = `${quoteName(this.#target.database)}.${quoteName(name)}`
    await this.#connection.command(
      `CREATE TABLE ${table} (${changes.structure}) ENGINE = Join(ANY, LEFT, Key)`,
    )
    try {
      const into = `INSERT INTO ${table} (${changes.names.map(quoteName).join(', ')})`
      const block = {
        into,
        structure: changes.structure,
        parts: changes.parts(),
        settings: { async_insert: 0 },
      }
      await this.#connection.insert(block, deadline)
      for (const partition of changes.partitions) {
        await this.#connection.command(this.#update(changes, name, table, partition))
      }
    } catch (error) {
      await this.#takeBack(name)
      throw retry('EXPORT_UNAVAILABLE', `clickhouse: reprice: ${messageOf(error)}`, undefined, {
        cause: error,
      })
    }
    return await this.settle(deadline)
  }

  #update(changes: Changes, name: string, table: string, partition: string): string {
    const place = quoteText(`${this.#target.database}.${name}`)
    const sets = changes.rewritten.map(
      (column) => `${column} = joinGet(${place}, ${quoteText(column)}, ${ROW_KEY})`,
    )
    return (
      `ALTER TABLE ${this.#target.traces} UPDATE ${sets.join(', ')} IN PARTITION ID ${quoteText(partition)} ` +
      `WHERE ModelCall = 1 AND ${ROW_KEY} IN (SELECT Key FROM ${table}) SETTINGS mutations_sync = 0`
    )
  }

  /** Waits until no rewriting of this table is under way, whoever began it, and removes what it leaves behind. */
  async settle(deadline: AbortSignal): Promise<boolean> {
    let failed = 0
    for (;;) {
      const [first] = await this.#unfinished()
      if (first === undefined) break
      if (first.failure !== '' && ++failed > MAX_FAILED_POLLS) {
        await this.#kill(first.id)
        throw retry('EXPORT_UNAVAILABLE', `clickhouse: reprice: the mutation failed: ${first.failure}`)
      }
      if (deadline.aborted) return false
      await sleep(POLL_MS, deadline)
    }
    for (const name of await this.#leftovers()) await this.#drop(name)
    return true
  }

  async #unfinished(mentions = this.#prefix): Promise<readonly Mutation[]> {
    const { data } = await this.#connection.rows(
      'SELECT mutation_id, latest_fail_reason FROM system.mutations WHERE database = {database:String} AND table = {table:String} AND NOT is_done AND position(command, {mentions:String}) > 0 ORDER BY create_time',
      { database: this.#target.database, table: this.#target.tracesName, mentions },
    )
    return data.map(([id, failure]) => ({ id: String(id), failure: String(failure) }))
  }

  /** Tables of changes that a mutation has used up, or that nobody came back to. */
  async #leftovers(): Promise<readonly string[]> {
    const { data } = await this.#connection.rows(
      `SELECT name FROM system.tables AS t WHERE database = {database:String} AND startsWith(name, {prefix:String}) AND (metadata_modification_time <= now() - ${this.#isShared ? ABANDONED_SECONDS : 0} OR name IN (SELECT extract(command, concat({prefix:String}, '[0-9a-f]+')) FROM system.mutations WHERE database = {database:String} AND table = {table:String}))`,
      { database: this.#target.database, table: this.#target.tracesName, prefix: this.#prefix },
    )
    return data.map(([name]) => String(name))
  }

  async #takeBack(name: string): Promise<void> {
    try {
      for (const { id } of await this.#unfinished(name)) await this.#kill(id)
      await this.#drop(name)
    } catch (error) {
      this.#log.warn(
        { error: messageOf(error), table: name },
        'clickhouse: a reprice could not be taken back yet',
      )
    }
  }

  async #kill(id: string): Promise<void> {
    const where = `database = ${quoteText(this.#target.database)} AND table = ${quoteText(this.#target.tracesName)} AND mutation_id = ${quoteText(id)}`
    await this.#connection.command(`KILL MUTATION WHERE ${where}`)
  }

  async #drop(name: string): Promise<void> {
    await this.#connection.command(
      `DROP TABLE IF EXISTS ${quoteName(this.#target.database)}.${quoteName(name)} SYNC`,
    )
  }
}
