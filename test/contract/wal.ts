import { randomUUID } from 'node:crypto'
import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import type { StateStore } from '../../pipeline/state/state.ts'
import { acquireLease } from '../../pipeline/state/lease.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { cursorKey, decodeCursor, encodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { pageKey, pagesPrefix } from '../../pipeline/wal/dedupe-pages.ts'
import type { WalDriver } from '../../pipeline/wal/driver.ts'
import { EMPTY_LEDGER, imbalance } from '../../pipeline/wal/ledger.ts'
import { ChainReader, type Acquire, type ReaderOptions } from '../../pipeline/wal/reader.ts'
import { Trimmer } from '../../pipeline/wal/trimmer.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import { until } from './until.ts'
import { SteppedState } from './wal-memory.ts'
import { requestBatch } from './wal-spans.ts'
import { modelChain, ModelStore, spanOf, type ChainOptions } from './wal-world.ts'

/** A log and a state store under test. Every call opens one more handle, as another process would. */
export interface WalPlace {
  driver(): Promise<WalDriver>
  state(): Promise<StateStore>
  close(): Promise<void>
}

const CURSOR = 'traces/store/model'
const never = new AbortController().signal
const silent = pino({ level: 'silent' })
const BATCHING = { maxSpans: 100, maxBytes: 1 << 20, maxWaitMs: 5 }
/** Small, so that splitting needs no large requests. */
const SMALL_BYTES = 64 * 1024
/** Short, so that hand-overs are; the default is 6 s. */
const LEASE_MS = 2000

/** One daemon's reader, and how to end it: `stop` in peace, `kill` as kill -9 does. */
interface Daemon {
  readonly reader: ChainReader
  stop(): Promise<void>
  kill(): void
}

class Bench {
  readonly place: WalPlace
  readonly driver: WalDriver
  readonly state: StateStore
  readonly meter = createMeter()
  readonly store = new ModelStore()
  readonly writer: WalWriter
  readonly letters: DeadLetters
  readonly #ends: (() => Promise<void> | void)[] = []
  readonly #ending = new AbortController()

  private constructor(place: WalPlace, driver: WalDriver, state: StateStore) {
    this.place = place
    this.driver = driver
    this.state = state
    const { meter } = this
    const onAppended = () => driver.poke()
    this.writer = new WalWriter({
      connector: 'wal',
      driver: withSmallMessages(driver),
      meter,
      onAppended,
      maxPendingBytes: 1 << 26,
    })
    this.letters = new DeadLetters({ connector: 'wal', state, meter, clock: Date.now, maxBytes: 1 << 20 })
  }

  static async open(place: WalPlace): Promise<Bench> {
    return new Bench(place, await place.driver(), await place.state())
  }

  async register(cursor = CURSOR): Promise<void> {
    const { lastSeq } = await this.driver.info()
    await registerCursor(this.state, 'wal', cursor, lastSeq + 1, Date.now())
  }

  async start(chain: Partial<ChainOptions> = {}, options: Partial<ReaderOptions> = {}): Promise<Daemon> {
    let dead = false
    const step = async () => {
      if (dead) await new Promise(() => {})
    }
    const dying = new AbortController()
    const state = new SteppedState(this.state, step)
    const driver = await this.place.driver()
    const reader = new ChainReader(modelChain({ store: this.store, step, batching: BATCHING, ...chain }), {
      connector: 'wal',
      driver,
      state,
      acquire: this.acquire(state, dying.signal),
      letters: new DeadLetters({
        connector: 'wal',
        state,
        meter: this.meter,
        clock: Date.now,
        maxBytes: 1 << 20,
      }),
      log: silent,
      meter: this.meter,
      clock: Date.now,
      backoffMs: [1, 10],
      ...options,
    })
    reader.start()
    const kill = () => {
      dead = true
      dying.abort()
    }
    const stop = async () => {
      if (!dead) await reader.stop(AbortSignal.timeout(5000))
    }
    this.#ends.push(stop)
    return { reader, stop, kill }
  }

  acquire(state: StateStore, dying: AbortSignal = never): Acquire {
    const holder = randomUUID()
    return async (name, signal) => {
      const lease = await acquireLease(state, name, holder, { ttlMs: LEASE_MS, signal })
      // A dead process renews nothing: its state never answers.
      if (dying.aborted) return new Promise(() => {})
      return lease
    }
  }

  send(names: readonly string[], tenant = 'default', padding = 0): Promise<unknown> {
    return this.writer.consume(requestBatch(names, { tenant, padding }), never)
  }

  async record(cursor = CURSOR): Promise<CursorRecord> {
    const key = cursorKey('wal', cursor)
    const entry = await this.state.get(key)
    return decodeCursor(key, entry?.value ?? Buffer.from('{"v":0}'))
  }

  async caughtUp(cursor = CURSOR): Promise<CursorRecord> {
    const { lastSeq } = await this.driver.info()
    await until(async () => {
      const { position, frozen } = await this.record(cursor)
      return position > lastSeq && frozen === undefined
    })
    return this.record(cursor)
  }

  get stored(): string[] {
    return this.store.rows.map(spanOf)
  }

  async close(): Promise<void> {
    this.#ending.abort()
    for (const end of this.#ends) await end()
    await this.writer.stop(AbortSignal.timeout(5000))
  }
}

/** The driver as a writer sees it, but for its limit. */
function withSmallMessages(driver: WalDriver): WalDriver {
  return {
    kind: driver.kind,
    maxMessageBytes: SMALL_BYTES,
    open: () => driver.open(),
    close: () => driver.close(),
    append: (message) => driver.append(message),
    reader: (from) => driver.reader(from),
    info: () => driver.info(),
    holds: (from, to) => driver.holds(from, to),
    guard: (used) => driver.guard(used),
    trim: (upTo) => driver.trim(upTo),
    purgeTenant: (tenant, upTo) => driver.purgeTenant(tenant, upTo),
    durability: () => driver.durability(),
    poke: () => driver.poke(),
  }
}

function names(prefix: string, count: number): string[] {
  return Array.from({ length: count }, (_, n) => `${prefix}${n}`)
}

/** What the WAL promises, over a real log and a real state store. */
export function walContract(title: string, open: () => Promise<WalPlace>): void {
  describe(`WAL over ${title}`, () => {
    let place: WalPlace | undefined
    let bench: Bench | undefined
    const fresh = async () => {
      place = await open()
      bench = await Bench.open(place)
      await bench.register()
      return bench
    }
    afterEach(async () => {
      await bench?.close()
      await place?.close()
      bench = place = undefined
    })

    it('delivers every span once, in order, with its place in the log, and books it', async () => {
      const w = await fresh()
      await w.start()
      for (let n = 0; n < 30; n++) await w.send(names(`ok${n}_`, 7), n % 2 === 0 ? 'a' : 'b')
      const { ledger } = await w.caughtUp()
      expect(w.stored).toEqual(
        Array.from({ length: 30 }, (_, n) => names(`${n % 2 === 0 ? 'a' : 'b'}/ok${n}_`, 7)).flat(),
      )
      expect(new Set(w.store.rows.map((row) => row.slice(row.lastIndexOf('@')))).size).toBe(210)
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 210, stored: 210 })
      expect(w.store.deliveries.every(({ attempt }) => attempt === 0)).toBe(true)
    })

    it('drops what a sender repeats, over merges, messages and restarts of the reader', async () => {
      const w = await fresh()
      const requests = Array.from({ length: 12 }, (_, n) => names(`ok${n}_`, 3))
      const send = (which: readonly (readonly string[])[]) => Promise.all(which.map((one) => w.send(one)))
      const first = await w.start()
      await send([...requests, ...requests.slice(0, 3)])
      await send(requests.filter((_, n) => n % 3 === 0))
      await w.caughtUp()
      await first.stop()
      await w.start()
      await send(requests.toReversed())
      // Another tenant's equal bytes are no repeat.
      await w.send(requests[0] ?? [], 'other')
      const { ledger } = await w.caughtUp()
      expect(w.stored).toHaveLength(39)
      expect(new Set(w.stored).size).toBe(39)
      expect(ledger).toEqual({
        ...EMPTY_LEDGER,
        passed: 3 * (15 + 4 + 12 + 1),
        stored: 39,
        duplicate: 3 * 19,
      })
    })

    it('repeats the frozen range exactly after a kill before it advanced', async () => {
      const w = await fresh()
      const first = await w.start({ batching: { maxSpans: 20, maxBytes: 1 << 20, maxWaitMs: 50 } })
      w.store.plan.push('ok', 'hang-after-store')
      await w.send(names('ok', 9))
      await until(() => w.store.deliveries.length === 1)
      await Promise.all([w.send(names('ok1_', 8)), w.send(names('drop', 2)), w.send(names('ok2_', 4))])
      await until(() => w.store.rows.length > 9)
      const interrupted = w.store.deliveries.at(-1)
      first.kill()
      // Whatever comes later must not enter the range.
      await w.send(names('ok3_', 5))
      await w.start({ batching: { maxSpans: 5, maxBytes: 1 << 20, maxWaitMs: 0 } })
      const { ledger } = await w.caughtUp()
      const repeated = w.store.deliveries.find(({ attempt }) => attempt > 0)
      expect(repeated).toEqual({ ...interrupted, attempt: 1 })
      expect(w.stored).toHaveLength(26)
      expect(new Set(w.stored).size).toBe(26)
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 28, stored: 26, sampled: 2 })
    })

    it('bisects to exactly the bad spans, and keeps them with the reason', async () => {
      const w = await fresh()
      await w.send([...names('ok', 40), 'bad1', ...names('okk', 20), 'bad2'])
      await w.start()
      await w.send(['part1', 'ok_last', 'inv1'])
      const { ledger } = await w.caughtUp()
      expect(w.stored.toSorted()).toEqual(
        [...names('default/ok', 40), ...names('default/okk', 20), 'default/ok_last'].toSorted(),
      )
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 65, stored: 61, dead_lettered: 4 })
      const letters = (await w.letters.list()).toSorted((a, b) => a.seq - b.seq || a.row - b.row)
      expect(letters.map(({ component, reason, row }) => [component, reason, row])).toEqual([
        ['model', 'a bad span', 40],
        ['model', 'a bad span', 61],
        ['model', 'partly rejected', 0],
        ['processors', 'model: invalid', 2],
      ])
      const { letter, body } = await w.letters.get(letters[1]?.id ?? '')
      expect(Buffer.from(body).toString('latin1')).toContain('bad2')
      expect(letter).toMatchObject({ tenant: 'default', principal: 'tester', format: 'otlp', spans: 1 })
      expect(await w.letters.remove(letter.id)).toBe(true)
      expect(await w.letters.list()).toHaveLength(3)
    })

    it('bisects batch by batch where the exporter takes single batches', async () => {
      const w = await fresh()
      await w.send([...names('ok', 9), 'bad1'])
      await w.send(names('okk', 5), 'other')
      await w.start({ each: true })
      const { ledger } = await w.caughtUp()
      expect(w.stored.toSorted()).toEqual([...names('default/ok', 9), ...names('other/okk', 5)].toSorted())
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 15, stored: 14, dead_lettered: 1 })
    })

    it('repeats on retry without end, under one token', async () => {
      const w = await fresh()
      w.store.plan.push('retry', 'retry', 'retry-after-store', 'retry', 'hang')
      await w.send(names('ok', 5))
      await w.start({}, { deliverTimeoutMs: 300 })
      const { ledger } = await w.caughtUp()
      expect(w.store.deliveries.map(({ attempt }) => attempt)).toEqual([0, 1, 2, 3, 4, 5])
      expect(new Set(w.store.deliveries.map(({ token }) => token)).size).toBe(1)
      expect(w.stored).toHaveLength(5)
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 5, stored: 5 })
    })

    it('lets one daemon drive a cursor and another take over from a dead one', async () => {
      const w = await fresh()
      const first = await w.start()
      await until(() => first.reader.view().held)
      const second = await w.start()
      for (let n = 0; n < 5; n++) await w.send(names(`ok${n}_`, 5))
      await w.caughtUp()
      expect(second.reader.view().held).toBe(false)
      first.kill()
      for (let n = 5; n < 10; n++) await w.send(names(`ok${n}_`, 5))
      const { ledger } = await w.caughtUp()
      expect(second.reader.view().held).toBe(true)
      expect(new Set(w.stored).size).toBe(50)
      expect(w.stored).toHaveLength(50)
      expect(imbalance(ledger)).toBe(0)
    })

    it('leaves a range frozen that cannot be finished by the deadline', async () => {
      const w = await fresh()
      const first = await w.start()
      w.store.plan.push('hang')
      await w.send(names('ok', 5))
      await until(() => w.store.deliveries.length === 1)
      await first.reader.stop(AbortSignal.timeout(30))
      const { frozen, ledger } = await w.record()
      expect(frozen).toMatchObject({ rows: 5, attempt: 0 })
      expect(ledger).toEqual(EMPTY_LEDGER)
      await w.start()
      await w.caughtUp()
      expect(w.stored).toHaveLength(5)
    })

    it('splits a request that does not fit into a message, and drops the parts of a repeat', async () => {
      const w = await fresh()
      await w.start()
      for (let n = 0; n < 2; n++) await w.send(names('ok', 12), 'default', SMALL_BYTES / 5)
      const { ledger } = await w.caughtUp()
      expect((await w.driver.info()).lastSeq).toBeGreaterThan(3)
      expect(w.stored).toEqual(names('default/ok', 12))
      expect(ledger).toEqual({ ...EMPTY_LEDGER, passed: 24, stored: 12, duplicate: 12 })
    })

    it('trims what every configured exporter has passed and keep has outlived, and nothing else', async () => {
      const w = await fresh()
      await w.register('traces/store/slow')
      await w.register('traces/store/gone')
      for (let n = 0; n < 10; n++) await w.send(names(`ok${n}_`, 2))
      await w.start()
      await w.caughtUp()
      const trimmer = (configured: string[], keepMs: number, clock = Date.now) =>
        new Trimmer({
          connector: 'wal',
          driver: w.driver,
          state: w.state,
          acquire: w.acquire(w.state),
          letters: w.letters,
          log: silent,
          meter: w.meter,
          clock,
          keepMs,
          configured: () => configured,
        })
      const later = () => Date.now() + 60_000
      // Not old enough; then pinned by an exporter that has passed nothing; then by none.
      expect((await trimmer([CURSOR], 3_600_000).trim(never)).messages).toBe(10)
      expect((await trimmer([CURSOR, 'traces/store/slow'], 1000, later).trim(never)).messages).toBe(10)
      expect((await trimmer([], 1000, later).trim(never)).messages).toBe(10)
      expect((await trimmer([CURSOR, 'traces/store/new'], 1000, later).trim(never)).messages).toBe(10)
      // One that has passed all, and has noted the members of four messages; the reader notes them within a second.
      const half = {
        ...(await w.record()),
        cursor: 'traces/store/half',
        position: 11,
        window: { page: 0, upTo: 4 },
      }
      await w.state.put(cursorKey('wal', half.cursor), encodeCursor(half))
      await until(async () => (await trimmer([CURSOR, half.cursor], 1000, later).trim(never)).messages === 6)
      await until(async () => (await trimmer([CURSOR], 1000, later).trim(never)).messages === 0)
      await w.send(names('okk', 3))
      await w.caughtUp()
      expect(w.stored).toHaveLength(23)
      // A cursor that nobody wants leaves after seven days, with what it remembers.
      const week = () => Date.now() + 8 * 24 * 3_600_000
      await w.state.put(pageKey('wal', 'traces/store/gone', 0), Buffer.from('page'))
      await trimmer([CURSOR], 1000, week).forgetCursors()
      await expect(w.record('traces/store/gone')).rejects.toThrow(/format 0/)
      expect(await w.state.list(pagesPrefix('wal', 'traces/store/gone'))).toEqual([])
      expect((await w.record()).position).toBeGreaterThan(10)
    })
  })
}
