import { messageOf } from '../../pipeline/fault.ts'
import type { ConnectorContext } from '../../pipeline/factory.ts'
import { sleep } from '../../pipeline/sleep.ts'
import type { WalDriver, WalInfo } from '../../pipeline/wal/driver.ts'

const EVERY_MS = 2000

/** Shows the size and age of the log, and calls `after` with every look at it. */
export class LogGauges {
  readonly #driver: WalDriver
  readonly #context: ConnectorContext
  readonly #after: (info: WalInfo, signal: AbortSignal) => Promise<void>
  readonly #ending = new AbortController()
  #running: Promise<void> | undefined

  constructor(
    driver: WalDriver,
    context: ConnectorContext,
    after: (info: WalInfo, signal: AbortSignal) => Promise<void> = async () => {},
  ) {
    this.#driver = driver
    this.#context = context
    this.#after = after
  }

  start(): void {
    this.#running ??= this.#run()
  }

  async stop(): Promise<void> {
    this.#ending.abort()
    await this.#running
  }

  async #run(): Promise<void> {
    const { signal } = this.#ending
    while (!signal.aborted) {
      try {
        const info = await this.#driver.info()
        this.#show(info)
        await this.#after(info, signal)
      } catch (error) {
        if (signal.aborted) return
        this.#context.log.debug({ error: messageOf(error) }, 'The WAL could not be looked at')
      }
      await sleep(EVERY_MS, signal)
    }
  }

  #show({ messages, bytes, maxBytes, oldestMs }: WalInfo): void {
    const { meter, id, clock } = this.#context
    const labels = { connector: id }
    const age = oldestMs === undefined ? 0 : Math.max(0, (clock() - oldestMs) / 1000)
    meter.gauge('weir_wal_messages').set(messages, labels)
    meter.gauge('weir_wal_bytes').set(bytes, labels)
    meter.gauge('weir_wal_max_bytes').set(maxBytes, labels)
    meter.gauge('weir_wal_oldest_age_seconds').set(age, labels)
  }
}
