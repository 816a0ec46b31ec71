import { safeJson } from '../../pipeline/telemetry/safe-text.ts'
import { cellOf, table } from '../table.ts'
import type { Io } from '../verb.ts'

export type Row = Readonly<Record<string, unknown>>

/** Rows as a table with these columns, or that there are none; or all of them as JSON under `name`. */
export function printRows(
  rows: readonly Row[],
  columns: readonly string[],
  how: { readonly name: string; readonly json: boolean },
  io: Io,
): void {
  if (how.json) {
    io.out(`${safeJson(JSON.stringify({ [how.name]: rows }))}\n`)
    return
  }
  if (rows.length === 0) {
    io.out(`no ${how.name.replaceAll('_', ' ')}\n`)
    return
  }
  const cells = rows.map((row) => columns.map((column) => shown(row[column])))
  io.out(
    table(
      columns.map((title) => ({ title })),
      cells,
    ),
  )
}

/** One record, a line per field. */
export function printOne(answer: Row, name: string, json: boolean, io: Io): void {
  if (json) {
    io.out(`${safeJson(JSON.stringify(answer))}\n`)
    return
  }
  const record = (answer[name] ?? {}) as Row
  const rows = Object.entries(record).map(([field, value]) => [field, shown(value)])
  io.out(table([{ title: name }, { title: '' }], rows))
}

function shown(value: unknown): string {
  if (value === null || value === undefined || value === '') return '-'
  if (Array.isArray(value)) return value.length === 0 ? '-' : value.join(',')
  if (typeof value === 'object') {
    const entries = Object.entries(value)
    return entries.length === 0 ? '-' : entries.map(([key, each]) => `${key}=${String(each)}`).join(' ')
  }
  return cellOf(value)
}
