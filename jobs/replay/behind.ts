import { firstBehind, type Feeders, type Heads } from '../../pipeline/jobs/feeders.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { StateStore } from '../../pipeline/state/state.ts'

const POLL_MS = 200

/**
 * Waits until every cursor that delivers into the exporter has passed these sequences: what lies before is in the store,
 * or will never be, and an absent span cannot come from there any more.
 */
export async function passed(
  state: StateStore,
  feeders: Feeders,
  upTo: Heads,
  signal: AbortSignal,
): Promise<void> {
  while ((await firstBehind(state, feeders, upTo)) !== undefined) {
    await sleep(POLL_MS, signal)
    signal.throwIfAborted()
  }
}
