import { reject } from '../fault.ts'
import type { StateStore } from '../state/state.ts'
import { measureLag, type CursorLag } from './cursor-lag.ts'
import { cursorKey, type CursorRecord } from './cursor-record.ts'
import type { CursorSightings } from './cursor-seen.ts'
import { listCursors } from './cursor-store.ts'
import { pagesPrefix } from './dedupe-pages.ts'
import type { WalDriver } from './driver.ts'

export interface CursorView {
  readonly record: CursorRecord
  readonly lag: CursorLag
  /** Some daemon has it in its config; else it pins nothing and may be removed. */
  readonly wanted: boolean
  /** Unix ms; 0 when never. */
  readonly seenMs: number
}

export interface CursorDeskOptions {
  readonly connector: string
  readonly driver: WalDriver
  readonly state: StateStore
  readonly sightings: CursorSightings
  readonly clock: () => number
}

/** What operators see of the exporters' positions in one log. */
export class CursorDesk {
  readonly #options: CursorDeskOptions

  constructor(options: CursorDeskOptions) {
    this.#options = options
  }

  get connector(): string {
    return this.#options.connector
  }

  async list(signal: AbortSignal): Promise<CursorView[]> {
    const { driver, state, connector, sightings, clock } = this.#options
    const info = await driver.info()
    const views: CursorView[] = []
    for (const { record } of await listCursors(state, connector)) {
      const lag = await measureLag(driver, info, record, clock(), signal)
      const seenMs = await sightings.lastSeen(record.cursor)
      views.push({ record, lag, wanted: sightings.isWanted(seenMs), seenMs })
    }
    return views
  }

  /** False where there is none. CONFLICT while an exporter has it: what it has not passed would be lost to it. */
  async remove(cursor: string): Promise<boolean> {
    const { state, connector, sightings } = this.#options
    const key = cursorKey(connector, cursor)
    const entry = await state.get(key)
    if (entry === undefined) return false
    if (sightings.isWanted(await sightings.lastSeen(cursor))) {
      throw reject(
        'CONFLICT',
        `cursor ${cursor} is in the config of a daemon, or was within the last 10 minutes: take its exporter out of the config first`,
      )
    }
    if (!(await state.delete(key, entry.revision))) {
      throw reject('CONFLICT', `cursor ${cursor} moved meanwhile: a daemon drives it`)
    }
    await sightings.forget(cursor)
    await state.forget(pagesPrefix(connector, cursor))
    return true
  }
}
