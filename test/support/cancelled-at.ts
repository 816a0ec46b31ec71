import type { Connection } from '../../exporters/clickhouse/connection.ts'

/** The connection, and a signal that is aborted once a statement with this in it has been executed. */
export function cancelledAt(connection: Connection, part: string) {
  const cancel = new AbortController()
  const cancelling: Connection = {
    ...connection,
    rows: (sql, params, signal) => connection.rows(sql, params, signal),
    insert: (insert, signal) => connection.insert(insert, signal),
    command: async (sql) => {
      await connection.command(sql)
      if (sql.includes(part)) cancel.abort(new Error('cancelled'))
    },
  }
  return { cancelling, signal: cancel.signal }
}
