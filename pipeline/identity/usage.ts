import { messageOf } from '../fault.ts'
import { stateKey, type StateStore } from '../state/state.ts'
import type { Log } from '../telemetry/log.ts'
import { usedKey } from './keyring.ts'

const EVERY_MS = 60_000

/** Remembers when keys were last good: written at most once a minute per key and daemon, and never waited for. */
export class KeyUsage {
  readonly #state: StateStore
  readonly #log: Log
  readonly #written = new Map<string, number>()

  constructor(state: StateStore, log: Log) {
    this.#state = state
    this.#log = log
  }

  /** `id` is that of a key that exists, so there are no more entries than keys. */
  note(id: string, nowMs: number): void {
    if (nowMs - (this.#written.get(id) ?? -Infinity) < EVERY_MS) return
    this.#written.set(id, nowMs)
    this.#state.put(usedKey(id), Buffer.from(String(nowMs))).catch((error: unknown) => {
      this.#log.debug({ key: id, error: messageOf(error) }, 'the use of a key was not noted')
    })
  }
}

/** Key id → Unix ms of its last use. */
export async function readUsage(state: StateStore): Promise<ReadonlyMap<string, number>> {
  const entries = await state.list(stateKey('identity_used'))
  return new Map(
    entries.map(({ key, value }) => [key.split('.')[1] ?? '', Number(Buffer.from(value).toString())]),
  )
}
