import type { StateStore } from '../state/state.ts'
import type { RunId } from './ids.ts'
import { doneKey, encode, openKey, type RunMark } from './run-record.ts'

/** What the sweeper finds its work by. */

export const DAY_MS = 86_400_000

export function dayOf(ms: number): number {
  return Math.floor(ms / DAY_MS)
}

/** Set before the run's record is made, so that no run goes unseen. */
export async function openMark(state: StateStore, receiver: string, run: RunId): Promise<void> {
  await state.put(openKey(receiver, run), encode(markOf(run)))
}

/** The run's root span is in the WAL. */
export async function doneMark(
  state: StateStore,
  receiver: string,
  run: RunId,
  ended: { readonly atMs: number; readonly keys: number },
): Promise<void> {
  await state.put(doneKey(receiver, dayOf(ended.atMs), run), encode({ ...markOf(run), keys: ended.keys }))
  await state.delete(openKey(receiver, run))
}

function markOf({ tenant, id }: RunId): RunMark {
  return { tenant, id }
}
