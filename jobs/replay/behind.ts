import type { ReplayRoute } from '../../pipeline/jobs/job.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { cursorKey, decodeCursor } from '../../pipeline/wal/cursor-record.ts'

const POLL_MS = 200

/**
 * Waits until every cursor that delivers into the exporter has passed these sequences: what lies before is in the store,
 * or will never be, and an absent span cannot come from there any more.
 */
export async function passed(
  state: StateStore,
  feeders: ReplayRoute['feeders'],
  upTo: Readonly<Record<string, number>>,
  signal: AbortSignal,
): Promise<void> {
  for (const { connector, cursor } of feeders) {
    const seq = upTo[connector] ?? 0
    if (seq === 0) continue
    while ((await positionOf(state, connector, cursor)) <= seq) {
      await sleep(POLL_MS, signal)
      signal.throwIfAborted()
    }
  }
}

async function positionOf(state: StateStore, connector: string, cursor: string): Promise<number> {
  const key = cursorKey(connector, cursor)
  const entry = await state.get(key)
  return entry === undefined ? 0 : decodeCursor(key, entry.value).position
}
