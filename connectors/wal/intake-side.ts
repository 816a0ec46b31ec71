import type { Lookback } from '../../pipeline/admission.ts'
import { faultOf, reject, retry } from '../../pipeline/fault.ts'
import type { Connector, ConnectorContext } from '../../pipeline/factory.ts'
import type { Durability, WalDriver } from '../../pipeline/wal/driver.ts'
import { lookbackOf } from '../../pipeline/wal/lookback.ts'
import { highestPassed } from '../../pipeline/wal/cursor-store.ts'
import { CursorSightings } from '../../pipeline/wal/cursor-seen.ts'
import { CursorDesk } from '../../pipeline/wal/cursor-desk.ts'
import { claimLog } from '../../pipeline/wal/log-owner.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { LetterDesk } from '../../pipeline/wal/letter-desk.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import { Backlog } from './backlog.ts'
import type { WalConfig } from './config.ts'
import { LogGauges } from './log-gauges.ts'

/** How long a failed write speaks against readiness when no other write follows. */
const FAILURE_MS = 5000

/** The WAL as ingest pipelines see it. */
export class IntakeSide implements Connector {
  readonly intake: WalWriter
  readonly lookback: Lookback
  readonly letterDesk: LetterDesk
  readonly cursorDesk: CursorDesk
  durability: Durability | undefined
  readonly #driver: WalDriver
  readonly #gauges: LogGauges
  readonly #backlog: Backlog
  readonly #context: ConnectorContext

  constructor(config: WalConfig, context: ConnectorContext, driver: WalDriver) {
    this.#context = context
    this.#driver = driver
    this.lookback = lookbackOf(this.#driver)
    this.#backlog = new Backlog(config, context, this.#driver)
    this.#gauges = new LogGauges(this.#driver, context, (info, signal) => this.#backlog.look(info, signal))
    this.intake = new WalWriter({
      connector: context.id,
      driver: this.#driver,
      meter: context.meter,
      onAppended: context.onAppended,
      maxPendingBytes: config.pending_bytes,
    })
    const { id: connector, state, meter, clock } = context
    const { max_bytes: maxBytes } = config.dead_letters
    const sightings = new CursorSightings(state, connector, clock)
    this.cursorDesk = new CursorDesk({ connector, driver: this.#driver, state, sightings, clock })
    this.letterDesk = new LetterDesk({
      connector,
      state,
      letters: new DeadLetters({ connector, state, meter, clock, maxBytes }),
      log: {
        intake: this.intake,
        lookback: this.lookback,
        sightings,
      },
    })
  }

  async start(): Promise<void> {
    const { state, id } = this.#context
    this.#driver.guard(() => highestPassed(state, id))
    await this.#driver.open()
    await claimLog(this.#driver, state)
    this.durability = this.#driver.durability()
    const { mode } = this.durability
    this.#context.meter.gauge('weir_durability_mode').set(1, { connector: this.#context.id, mode })
    this.#gauges.start()
    this.#backlog.start()
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await this.intake.stop(deadline)
    await this.#backlog.stop()
    await this.#gauges.stop()
    await this.#driver.close()
  }

  /** Throws why the WAL cannot be written: it does not answer, is full, or has just failed a write. */
  async probe(): Promise<void> {
    const failure = faultOf(this.intake.lastFailure(FAILURE_MS))
    if (failure !== undefined && failure.code !== 'SPAN_TOO_LARGE') throw failure
    const { bytes, maxBytes } = await this.#driver.info()
    if (bytes >= maxBytes) throw retry('WAL_FULL', `the write-ahead log holds its ${maxBytes} bytes`)
  }

  attach(): void {
    throw reject('START_FAILED', `${this.#context.id}: exporters are attached in the store process`)
  }

  async detach(): Promise<void> {}

  async register(): Promise<void> {}
}
