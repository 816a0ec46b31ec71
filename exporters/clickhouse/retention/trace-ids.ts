import { randomBytes } from 'node:crypto'
import { quoteText } from '../../../proto/clickhouse/native.ts'
import { settleMutations } from '../mutations.ts'
import type { RetentionPlace } from './retention.ts'

const MARK = 'weir_retention_'
const WEEKS_PER_STATEMENT = 50

/**
 * The look-up table of traces has no tenants: what leaves it are ids that the table of spans does not have any more, of
 * the time in which spans were deleted.
 */
export async function forgetTraceIds(
  place: RetentionPlace,
  { fromMs, toMs }: { readonly fromMs: number; readonly toMs: number },
  signal: AbortSignal,
): Promise<void> {
  const { connection, target } = place
  const range = { from: Math.floor(fromMs / 1000), to: Math.ceil(toMs / 1000) }
  const { data } = await connection.rows(
    `SELECT _partition_id, toUnixTimestamp(min(Start)), toUnixTimestamp(max(End)) FROM ${target.traceIdTs} WHERE Start < toDateTime({to:Int64}) AND End >= toDateTime({from:Int64}) GROUP BY _partition_id ORDER BY 1`,
    range,
    signal,
  )
  for (let at = 0; at < data.length; at += WEEKS_PER_STATEMENT) {
    const mark = `${MARK}${randomBytes(8).toString('hex')}`
    const weeks = data.slice(at, at + WEEKS_PER_STATEMENT)
    const deletes = weeks.map(([id, start, end]) => {
      const spans = `FROM ${target.traces} WHERE Timestamp >= toDateTime(${Number(start)}) AND Timestamp < toDateTime(${Number(end) + 1})`
      // Only of the time in which spans were deleted: an insert under way may bring a look-up before its spans.
      return `DELETE IN PARTITION ID ${quoteText(String(id))} WHERE Start < toDateTime(${range.to}) AND End >= toDateTime(${range.from}) AND TraceId NOT IN (SELECT TraceId ${spans}) AND notEmpty(${quoteText(mark)})`
    })
    await connection.command(
      `ALTER TABLE ${target.traceIdTs} ${deletes.join(', ')} SETTINGS mutations_sync = 0`,
    )
    const ids = weeks.map(([id]) => String(id))
    await settleMutations({ ...place, table: target.traceIdTsName }, mark, signal, ids)
  }
}
