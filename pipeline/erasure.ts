import type { Batch } from './batch/batch.ts'
import { reject } from './fault.ts'
import { stateKey, type StateStore } from './state/state.ts'

/**
 * What was deleted on purpose, and must not come back from where it still rests: the WAL until `keep` is over, archives,
 * backups of them. Whoever deletes from stores writes the tombstone first; whoever reads again applies it.
 */
export interface Tombstone {
  readonly v: 1
  readonly tenant: string
  /** Spans that started before, Unix ms; absent: of any time. */
  readonly beforeMs?: number
  /** Only of these traces, lower-case hex; absent: of all. */
  readonly traces?: readonly string[]
}

const VERSION = 1
const PREFIX = stateKey('erased')

/** The same id again replaces what it said. */
export async function writeTombstone(state: StateStore, id: string, tombstone: Tombstone): Promise<void> {
  await state.put(stateKey('erased', tombstone.tenant, id), Buffer.from(JSON.stringify(tombstone)))
}

/** Drops, as `erased`, what the tombstones of now name. */
export async function readTombstones(state: StateStore): Promise<(batch: Batch) => void> {
  const byTenant = new Map<string, Tombstone[]>()
  for (const { key, value } of await state.list(PREFIX)) {
    const tombstone = JSON.parse(Buffer.from(value).toString()) as Tombstone
    const version: number = tombstone.v
    if (version !== VERSION) {
      throw reject(
        'STATE_VERSION',
        `tombstone ${key} has format ${version}; this weir reads up to ${VERSION}: run the newer version`,
      )
    }
    byTenant.set(tombstone.tenant, [...(byTenant.get(tombstone.tenant) ?? []), tombstone])
  }
  return (batch) => {
    for (const tombstone of byTenant.get(batch.meta.tenant) ?? []) apply(tombstone, batch)
  }
}

function apply({ beforeMs = Infinity, traces }: Tombstone, batch: Batch): void {
  const named = traces === undefined ? undefined : new Set(traces)
  for (let row = 0; row < batch.rows; row++) {
    if (!batch.isLive(row) || batch.startMs(row) >= beforeMs) continue
    const trace = named === undefined ? '' : Buffer.from(batch.traceId(row)).toString('hex')
    if (named === undefined || named.has(trace)) batch.drop(row, 'erased')
  }
}
