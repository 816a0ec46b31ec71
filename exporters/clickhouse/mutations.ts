import { retry } from '../../pipeline/fault.ts'
import { sleep } from '../../pipeline/sleep.ts'
import { quoteText } from '../../proto/clickhouse/native.ts'
import type { Connection } from './connection.ts'
import type { Target } from './target.ts'

const POLL_MS = 50
const MAX_POLL_MS = 1000
/** A mutation that fails is tried again by ClickHouse, and holds up those after it: past this many polls it is taken back. */
const MAX_FAILED_POLLS = 25

export interface MutationPlace {
  readonly connection: Connection
  readonly target: Target
  /** Of the mutations; the table of spans when left out. */
  readonly table?: string
}

/** Waits until no mutation that mentions this has a part to do, of these partitions or of all. */
export async function settleMutations(
  { connection, target, table = target.tracesName }: MutationPlace,
  mentions: string,
  signal: AbortSignal,
  partitions?: readonly string[],
): Promise<void> {
  const prefixes = partitions?.map((id) => `${id}_`) ?? ['']
  let failed = 0
  for (let wait = POLL_MS; ; wait = Math.min(wait * 2, MAX_POLL_MS)) {
    const { data } = await connection.rows(
      'SELECT mutation_id, latest_fail_reason FROM system.mutations WHERE database = {database:String} AND table = {table:String} AND NOT is_done AND position(command, {mentions:String}) > 0 AND arrayExists(part -> arrayExists(prefix -> startsWith(part, prefix), {prefixes:Array(String)}), parts_to_do_names) ORDER BY create_time LIMIT 1',
      { database: target.database, table, mentions, prefixes },
      signal,
    )
    const [first] = data
    if (first === undefined) return
    if (first[1] !== '' && ++failed > MAX_FAILED_POLLS) {
      await connection.command(
        `KILL MUTATION WHERE database = ${quoteText(target.database)} AND table = ${quoteText(table)} AND mutation_id = ${quoteText(String(first[0]))}`,
      )
      throw retry('EXPORT_UNAVAILABLE', `clickhouse: a mutation failed: ${String(first[1])}`)
    }
    await sleep(wait, signal)
    if (signal.aborted) throw retry('EXPORT_UNAVAILABLE', 'clickhouse: rows are still being deleted')
  }
}
