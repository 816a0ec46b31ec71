import { randomUUID } from 'node:crypto'
import { stateKey, type StateStore } from '../state/state.ts'
import type { WalDriver } from './driver.ts'

/**
 * The state store whose cursors stand in a log. Another one has none of them: by cursors and leases of its own, a daemon with it
 * would deliver everything a second time, beside the first daemon.
 */
export interface LogOwner {
  /** Random, kept in the state store since a log was first read with it: copies and moves keep it. */
  readonly id: string
  /** Where the state store was then, for messages. */
  readonly place: string
}

/** Takes the log for this state store, where nobody has; START_FAILED where another state store has. */
export async function claimLog(driver: WalDriver, state: StateStore): Promise<void> {
  await driver.claim?.(await ownerOf(state))
}

export async function ownerOf(state: StateStore): Promise<LogOwner> {
  const key = stateKey('store-id')
  for (;;) {
    const present = await state.get(key)
    if (present !== undefined) {
      const { id } = JSON.parse(Buffer.from(present.value).toString()) as { id: string }
      return { id, place: state.place }
    }
    await state.create(key, Buffer.from(JSON.stringify({ v: 1, id: randomUUID() })))
  }
}
