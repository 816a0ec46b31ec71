import type { ReaderView } from '../../pipeline/wal/reader.ts'

export type CursorNames = Pick<ReaderView, 'pipeline' | 'exporterId'>

/** What a cursor's name says: `<signal>[/<name>]/<exporter>`. */
export function namesOf(cursor: string): CursorNames {
  const at = cursor.indexOf('/', cursor.indexOf('/') + 1)
  const cut = at === -1 ? cursor.indexOf('/') : at
  return { pipeline: cursor.slice(0, cut), exporterId: cursor.slice(cut + 1) }
}
