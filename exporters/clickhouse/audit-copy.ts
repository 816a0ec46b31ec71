import type { AuditCopy, CopyRange } from '../../pipeline/audit/copier.ts'
import { messageOf, retry } from '../../pipeline/fault.ts'
import { LowCardinalityColumn } from '../../proto/clickhouse/low-cardinality.ts'
import { StringColumn, WordColumn } from '../../proto/clickhouse/columns.ts'
import { nativeBlock, nativeStructure, quoteName } from '../../proto/clickhouse/native.ts'
import type { Connection } from './connection.ts'
import type { Target } from './target.ts'

const MAX_ROUNDS = 4

interface Place {
  readonly connection: Connection
  readonly target: Target
}

/** `audit_log`: the lines as they are; ClickHouse takes the fields out of them itself. */
export class ClickHouseAuditCopy implements AuditCopy {
  readonly place: string
  readonly #open: () => Place

  /** `place`: names the table among all that daemons may have. */
  constructor(place: string, open: () => Place) {
    this.place = place
    this.#open = open
  }

  async last(log: string, signal: AbortSignal): Promise<number> {
    const { connection, target } = this.#open()
    const { data } = await connection.rows(
      `SELECT max(Seq) FROM ${tableOf(target)} WHERE Log = {log:String}`,
      { log },
      signal,
    )
    return Number(data[0]?.[0] ?? 0)
  }

  /**
   * One block of one partition is there or not; the token drops the second of two that insert the same range. It is
   * logged before the part is there, so a kill in between is found by counting, and repeated under another token.
   */
  async store({ log, first, lines }: CopyRange, signal: AbortSignal): Promise<void> {
    const { connection, target } = this.#open()
    const columns = [
      new LowCardinalityColumn('Log'),
      new WordColumn('Seq', 'UInt64', 8),
      new StringColumn('Line'),
    ] as const
    for (const [at, line] of lines.entries()) {
      const seq = first + at
      columns[0].addText(log)
      columns[1].addPair(seq >>> 0, Math.floor(seq / 2 ** 32))
      columns[2].addText(line)
    }
    const last = first + lines.length - 1
    const token = `audit/${log}/${first}-${last}`
    for (let round = 0; round < MAX_ROUNDS; round++) {
      await connection.insert(
        {
          into: `INSERT INTO ${tableOf(target)} (Log, Seq, Line)`,
          structure: nativeStructure(columns),
          parts: nativeBlock(columns, lines.length),
          settings: {
            async_insert: 0,
            insert_deduplicate: 1,
            max_insert_threads: 1,
            insert_deduplication_token: round === 0 ? token : `${token}/${round}`,
          },
        },
        signal,
      )
      if ((await this.#count(log, first, last, signal)) === lines.length) return
    }
    throw retry('EXPORT_UNAVAILABLE', `clickhouse: entries ${first} to ${last} did not appear in audit_log`)
  }

  async #count(log: string, first: number, last: number, signal: AbortSignal): Promise<number> {
    const { connection, target } = this.#open()
    try {
      const { data } = await connection.rows(
        `SELECT count() FROM ${tableOf(target)} WHERE Log = {log:String} AND Seq BETWEEN {first:UInt64} AND {last:UInt64}`,
        { log, first, last },
        signal,
      )
      return Number(data[0]?.[0] ?? 0)
    } catch (error) {
      throw retry('EXPORT_UNAVAILABLE', `clickhouse: audit_log: ${messageOf(error)}`, undefined, {
        cause: error,
      })
    }
  }
}

function tableOf({ database }: Target): string {
  return `${quoteName(database)}.audit_log`
}
