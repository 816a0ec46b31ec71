import { randomUUID } from 'node:crypto'
import type { Consumer } from '../../pipeline/consumer.ts'
import { reject } from '../../pipeline/fault.ts'
import type { Connector, ConnectorContext, StoreChain } from '../../pipeline/factory.ts'
import type { Follower, StoredLog } from '../../pipeline/follower.ts'
import type { Retainable } from '../../pipeline/retention.ts'
import { acquireLease } from '../../pipeline/state/lease.ts'
import { cursorKey } from '../../pipeline/wal/cursor-record.ts'
import { CursorSightings } from '../../pipeline/wal/cursor-seen.ts'
import { highestPassed, registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { claimLog } from '../../pipeline/wal/log-owner.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import type { WalDriver } from '../../pipeline/wal/driver.ts'
import { ChainReader, type Acquire, type ReaderOptions } from '../../pipeline/wal/reader.ts'
import { LogFollower } from '../../pipeline/wal/follower.ts'
import { LetterRetention, LogRetention } from '../../pipeline/wal/retention.ts'
import { storedLogOf } from '../../pipeline/wal/stored-log.ts'
import { Trimmer } from '../../pipeline/wal/trimmer.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import type { WalConfig } from './config.ts'
import { FullPolicy } from './full-policy.ts'
import { LagWatch } from './lag-watch.ts'
import { LetterWatch } from './letter-watch.ts'
import { LogGauges } from './log-gauges.ts'

/** The WAL as store pipelines see it: a reader per exporter, the trimmer, the dead letters. */
export class StoreSide implements Connector {
  /** Only ingest pipelines deliver to it, and they are in the main process. */
  readonly intake: Consumer = {
    consume: () => Promise.reject(reject('START_FAILED', 'the store process takes no batches')),
  }
  readonly #config: WalConfig
  readonly #context: ConnectorContext
  readonly #driver: WalDriver
  readonly #writer: WalWriter
  readonly stored: StoredLog
  readonly deadLetters: DeadLetters
  readonly retainables: readonly Retainable[]
  readonly #readerOptions: ReaderOptions
  readonly #readers = new Map<string, ChainReader | LogFollower>()
  readonly #trimmer: Trimmer
  readonly #lag: LagWatch
  readonly #letterWatch: LetterWatch
  readonly #gauges: LogGauges
  #cursors: readonly string[] = []

  constructor(config: WalConfig, context: ConnectorContext, driver: WalDriver) {
    const { id: connector, state, log, meter, clock } = context
    this.#config = config
    this.#context = context
    this.#driver = driver
    this.#writer = new WalWriter({
      connector,
      driver,
      meter,
      onAppended: () => driver.poke(),
      maxPendingBytes: config.pending_bytes,
    })
    this.stored = storedLogOf(connector, driver, this.#writer)
    this.deadLetters = new DeadLetters({
      connector,
      state,
      meter,
      clock,
      maxBytes: config.dead_letters.max_bytes,
      maxAgeMs: config.dead_letters.max_age,
    })
    const holder = context.holder ?? randomUUID()
    const acquire: Acquire = (name, signal) => acquireLease(state, name, holder, { signal })
    const common = { connector, driver, state, acquire, letters: this.deadLetters, log, meter, clock }
    this.#trimmer = new Trimmer({ ...common, keepMs: config.keep, configured: () => this.#cursors })
    this.retainables = [
      new LogRetention({
        connector,
        driver,
        clock,
        keepMs: config.keep,
        trim: (signal) => this.#trimmer.trim(signal),
      }),
      new LetterRetention(connector, this.deadLetters),
    ]
    const full = new FullPolicy(config.when_full, driver, () => this.#trimmer.kick())
    this.#readerOptions = { ...common, mustSkip: (chain, from) => full.mustSkip(chain.exporterId, from) }
    this.#lag = new LagWatch({ ...common, alarmMs: config.lag_alarm, views: () => this.#views() })
    this.#letterWatch = new LetterWatch(this.deadLetters, context, config.dead_letters.max_bytes)
    this.#gauges = new LogGauges(driver, context, async (info, signal) => {
      await this.#lag.look(this.#cursors, info, signal)
      await this.#letterWatch.look()
    })
  }

  async start(): Promise<void> {
    const { state, id } = this.#context
    this.#driver.guard(() => highestPassed(state, id))
    await this.#driver.open()
    await claimLog(this.#driver, state)
    this.#gauges.start()
  }

  /** New cursors get their place before intake opens: `latest` loses nothing that comes after this. */
  async register(cursors: readonly string[], followers: readonly Follower[] = []): Promise<void> {
    const { state, id, clock } = this.#context
    const info = await this.#driver.info()
    const position = this.#config.start_at === 'latest' ? info.lastSeq + 1 : info.firstSeq
    const positions = new Map<string, number>()
    for (const cursor of cursors) {
      const first = (await this.#hasLost(cursor)) ? info.firstSeq : position
      const record = await registerCursor(state, id, cursor, first, clock())
      positions.set(cursor, record.position)
    }
    for (const { cursor, behind } of followers) {
      const first = Math.min(...behind.map((name) => positions.get(name) ?? position))
      await registerCursor(state, id, cursor, first, clock())
    }
    this.#cursors = [...cursors, ...followers.map(({ cursor }) => cursor)]
    await this.#lag.touch(this.#cursors)
    this.#trimmer.start()
  }

  /** A cursor that was here, but whose record the state store no longer has: rather twice than not at all. */
  async #hasLost(cursor: string): Promise<boolean> {
    const { state, id, clock, log } = this.#context
    if ((await state.get(cursorKey(id, cursor))) !== undefined) return false
    if (!(await new CursorSightings(state, id, clock).knows(cursor))) return false
    log.error(
      { cursor },
      'The state store has lost the position of a cursor: it starts at the oldest message of the WAL, and delivers again what it had delivered of it',
    )
    return true
  }

  attach(chain: StoreChain): void {
    const reader = new ChainReader(chain, this.#readerOptions)
    this.#readers.set(chain.cursor, reader)
    reader.start()
  }

  follow(follower: Follower): void {
    const reader = new LogFollower(follower, this.#readerOptions)
    this.#readers.set(follower.cursor, reader)
    reader.start()
  }

  async detach(cursor: string, deadline: AbortSignal): Promise<void> {
    const reader = this.#readers.get(cursor)
    await reader?.stop(deadline)
    if (this.#readers.get(cursor) === reader) this.#readers.delete(cursor)
  }

  async stop(deadline: AbortSignal): Promise<void> {
    await Promise.all(Array.from(this.#readers.keys(), (cursor) => this.detach(cursor, deadline)))
    await this.#writer.stop(deadline)
    await this.#trimmer.stop()
    await this.#gauges.stop()
    await this.#driver.close()
  }

  async probe(): Promise<void> {
    await this.#driver.info()
  }

  poke(): void {
    this.#driver.poke()
  }

  degraded(): readonly string[] {
    return [...this.#lag.degraded(), ...this.#letterWatch.degraded()]
  }

  #views() {
    return Array.from(this.#readers.values(), (reader) => reader.view())
  }
}
