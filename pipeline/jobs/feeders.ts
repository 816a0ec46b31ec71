import type { StateStore } from '../state/state.ts'
import { cursorKey, decodeCursor } from '../wal/cursor-record.ts'
import type { ReplayRoute, StoredExporter, Stores } from './job.ts'

/** Cursors that deliver into an exporter. */
export type Feeders = ReplayRoute['feeders']
/** Connector → sequence. */
export type Heads = Readonly<Record<string, number>>

export function feedersOf(stores: Stores, { id, pipelines }: StoredExporter): Feeders {
  const [pipeline] = pipelines
  return pipeline === undefined ? [] : stores.route(pipeline, id).feeders
}

/** How far the logs are that these read: what comes later is taken in later. */
export async function headsOf(stores: Stores, feeders: Feeders): Promise<Heads> {
  const heads: Record<string, number> = {}
  for (const log of stores.logs()) {
    if (feeders.some(({ connector }) => connector === log.connector)) heads[log.connector] = await log.head()
  }
  return heads
}

/** The first of the cursors that has not passed these sequences; undefined: what lies before is stored, or never will be. */
export async function firstBehind(
  state: StateStore,
  feeders: Feeders,
  heads: Heads,
): Promise<string | undefined> {
  for (const { connector, cursor } of feeders) {
    const seq = heads[connector] ?? 0
    if (seq > 0 && (await positionOf(state, connector, cursor)) <= seq) return cursor
  }
  return undefined
}

async function positionOf(state: StateStore, connector: string, cursor: string): Promise<number> {
  const key = cursorKey(connector, cursor)
  const entry = await state.get(key)
  return entry === undefined ? 0 : decodeCursor(key, entry.value).position
}
