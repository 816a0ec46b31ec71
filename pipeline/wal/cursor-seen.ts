import { stateKey, type StateStore } from '../state/state.ts'

/**
 * When a daemon last had a cursor in its config. Daemons that share a log may have different exporters, and a reload
 * takes its time: a cursor pins the log as long as some daemon wants it, give or take these minutes.
 */
const WANTED_MS = 10 * 60_000

export class CursorSightings {
  readonly #state: StateStore
  readonly #connector: string
  readonly #clock: () => number

  constructor(state: StateStore, connector: string, clock: () => number) {
    this.#state = state
    this.#connector = connector
    this.#clock = clock
  }

  async touch(cursors: readonly string[]): Promise<void> {
    const value = Buffer.from(JSON.stringify({ v: 1, seenMs: this.#clock() }))
    await Promise.all(cursors.map((cursor) => this.#state.put(this.#key(cursor), value)))
  }

  /** Unix ms by cursor; 0 when never seen. */
  async lastSeen(cursor: string): Promise<number> {
    const entry = await this.#state.get(this.#key(cursor))
    if (entry === undefined) return 0
    return (JSON.parse(Buffer.from(entry.value).toString()) as { seenMs: number }).seenMs
  }

  async knows(cursor: string): Promise<boolean> {
    return (await this.#state.get(this.#key(cursor))) !== undefined
  }

  isWanted(seenMs: number): boolean {
    return this.#clock() - seenMs <= WANTED_MS
  }

  async forget(cursor: string): Promise<void> {
    await this.#state.delete(this.#key(cursor))
  }

  #key(cursor: string) {
    return stateKey('cursor-seen', this.#connector, cursor)
  }
}
