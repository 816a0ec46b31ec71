import { messageOf } from '../../pipeline/fault.ts'
import type { ConnectorContext } from '../../pipeline/factory.ts'
import { sleep } from '../../pipeline/sleep.ts'
import { measureLag } from '../../pipeline/wal/cursor-lag.ts'
import { CursorSightings } from '../../pipeline/wal/cursor-seen.ts'
import { listCursors } from '../../pipeline/wal/cursor-store.ts'
import { newDeadLetters } from '../../pipeline/wal/dead-letter-watch.ts'
import type { WalDriver, WalInfo } from '../../pipeline/wal/driver.ts'
import type { WalConfig } from './config.ts'
import { namesOf } from './cursor-names.ts'

const AGAIN_MS = 2000

/** Tells the main process what its stores have not taken, and what they refused for good. */
export class Backlog {
  readonly #config: WalConfig
  readonly #context: ConnectorContext
  readonly #driver: WalDriver
  readonly #sightings: CursorSightings
  readonly #ending = new AbortController()
  #watching: Promise<void> | undefined

  constructor(config: WalConfig, context: ConnectorContext, driver: WalDriver) {
    this.#config = config
    this.#context = context
    this.#driver = driver
    this.#sightings = new CursorSightings(context.state, context.id, context.clock)
  }

  start(): void {
    this.#watching ??= this.#watchLetters()
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    await this.#watching
    this.#context.pressure.forgetWal(this.#context.id)
  }

  /** One look at the cursors that pin the log. */
  async look(info: WalInfo, signal: AbortSignal): Promise<void> {
    const { state, id, clock, pressure } = this.#context
    let bytes = 0
    let seconds = 0
    for (const { record } of await listCursors(state, id)) {
      if (!(await this.#pins(record.cursor))) continue
      const lag = await measureLag(this.#driver, info, record, clock(), signal)
      bytes = Math.max(bytes, lag.bytes)
      seconds = Math.max(seconds, lag.seconds)
    }
    if (signal.aborted) return
    pressure.reportWal(id, {
      undeliveredBytes: bytes,
      maxBytes: info.maxBytes,
      undeliveredMs: seconds * 1000,
    })
  }

  /** An exporter that is skipped when the log is full holds up nobody; nor does one that no daemon wants any more. */
  async #pins(cursor: string): Promise<boolean> {
    const { when_full: whenFull } = this.#config
    const policy =
      typeof whenFull === 'string' ? whenFull : (whenFull[namesOf(cursor).exporterId] ?? 'refuse')
    return policy === 'refuse' && this.#sightings.isWanted(await this.#sightings.lastSeen(cursor))
  }

  async #watchLetters(): Promise<void> {
    const { state, id, clock, pressure, log } = this.#context
    const { signal } = this.#ending
    while (!signal.aborted) {
      try {
        for await (const { tenant, spans } of newDeadLetters(state, id, signal)) {
          pressure.reportDeadLetters(tenant, spans, clock())
        }
      } catch (error) {
        log.debug({ error: messageOf(error) }, 'The dead letters could not be watched')
      }
      await sleep(AGAIN_MS, signal)
    }
  }
}
