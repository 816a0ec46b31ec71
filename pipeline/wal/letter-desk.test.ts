import pino from 'pino'
import { afterEach, describe, expect, it } from 'vitest'
import { until } from '../../test/contract/until.ts'
import {
  MemoryDriver,
  MemoryLeases,
  MemoryLog,
  MemoryState,
  SteppedState,
} from '../../test/contract/wal-memory.ts'
import { requestBatch } from '../../test/contract/wal-spans.ts'
import { modelChain, ModelStore, spanOf } from '../../test/contract/wal-world.ts'
import type { StateStore } from '../state/state.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { listCursors, registerCursor } from './cursor-store.ts'
import { CursorSightings } from './cursor-seen.ts'
import { DeadLetters } from './dead-letter.ts'
import { LetterDesk } from './letter-desk.ts'
import { lookbackOf } from './lookback.ts'
import { ChainReader } from './reader.ts'
import { WalWriter } from './writer.ts'

const NEVER = new AbortController().signal
const stops: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** Two exporters on one log; `model` rejects what is named `bad…` while it is picky. */
async function setup() {
  const log = new MemoryLog()
  const state = new MemoryState()
  const meter = createMeter()
  const driver = new MemoryDriver(log)
  const stores = { model: new ModelStore(), other: new ModelStore() }
  const leases = new MemoryLeases()
  const sightings = new CursorSightings(state, 'wal', Date.now)
  const common = { connector: 'wal', state, meter, clock: Date.now }
  const letters = new DeadLetters({ ...common, maxBytes: 1e6 })
  const writer = new WalWriter({
    connector: 'wal',
    driver,
    meter,
    onAppended: () => driver.poke(),
    maxPendingBytes: 1e7,
  })
  for (const id of ['model', 'other'] as const) {
    const chain = modelChain({
      store: stores[id],
      exporterId: id,
      batching: { maxSpans: 100, maxBytes: 1e6, maxWaitMs: 0 },
    })
    await registerCursor(state, 'wal', chain.cursor, 1, 0)
    await sightings.touch([chain.cursor])
    const options = { ...common, driver, acquire: leases.acquire, letters, log: pino({ level: 'silent' }) }
    const reader = new ChainReader(chain, { ...options, backoffMs: [1, 4] })
    reader.start()
    stops.push(() => reader.stop(AbortSignal.timeout(1000)))
  }
  const desk = (over: StateStore = state) =>
    new LetterDesk({
      connector: 'wal',
      state: over,
      letters: new DeadLetters({ ...common, state: over, maxBytes: 1e6 }),
      log: {
        intake: writer,
        lookback: lookbackOf(driver),
        sightings: new CursorSightings(over, 'wal', Date.now),
      },
    })
  const caughtUp = () =>
    until(async () => (await listCursors(state, 'wal')).every(({ record }) => record.position > log.lastSeq))
  return { log, state, stores, letters, writer, desk, caughtUp }
}

const named = ({ rows }: ModelStore) => rows.map(spanOf)

describe('dead letters that are sent again', () => {
  it('reach the cursor that refused them, once, and no other', async () => {
    const w = await setup()
    await w.writer.consume(requestBatch(['part1', 'ok1', 'part2']), NEVER)
    await w.caughtUp()
    expect(await w.desk().list({ cursor: 'traces/store/model' })).toHaveLength(2)
    // The model refuses by the name for ever: the letter comes back under another id, and the ledger balances.
    const [first] = await w.desk().list({ cursor: 'traces/store/model' })
    const before = w.stores.other.deliveries.length
    const result = await w.desk().retry({ ids: [first?.id ?? ''] }, 10, NEVER)
    expect(result).toEqual({ letters: 1, spans: 1, failed: [], left: 0 })
    await w.caughtUp()
    expect(w.stores.other.deliveries).toHaveLength(before)
    const again = await w.desk().list({ cursor: 'traces/store/model' })
    expect(again.map(({ id }) => id)).toEqual(['traces/store/model@1.2', 'traces/store/model@2.0'])
    for (const { record } of await listCursors(w.state, 'wal')) {
      const { passed, ...outcomes } = record.ledger
      expect(Object.values(outcomes).reduce((sum, count) => sum + count, 0)).toBe(passed)
      expect(passed).toBe(record.cursor.endsWith('model') ? 4 : 3)
    }
  })

  it('are stored once wherever the retry dies, however often it is tried', async () => {
    for (let dieAt = 0; dieAt < 14; dieAt++) {
      const w = await setup()
      const body = requestBatch(['ok7']).encode()
      const place = { component: 'model', tenant: 'a', project: '', principal: 'p', source: 's', attempts: 1 }
      const where = {
        cursor: 'traces/store/model',
        reason: 'no',
        receivedAtMs: 7,
        seq: 900,
        row: 3,
        spans: 1,
      }
      await w.letters.put([{ ...place, ...where, format: 'otlp', body }])
      let steps = 0
      const dying = new SteppedState(w.state, async () => {
        if (steps++ === dieAt) throw new Error('dead')
      })
      await w
        .desk(dying)
        .retry({}, 10, NEVER)
        .catch(() => undefined)
      await Promise.all([
        w.desk().retry({}, 10, NEVER),
        w
          .desk()
          .retry({}, 10, NEVER)
          .catch(() => undefined),
      ])
      await w.caughtUp()
      expect(named(w.stores.model), `died at ${dieAt}`).toEqual(['a/ok7'])
      expect(named(w.stores.other)).toEqual([])
      expect(await w.desk().list({})).toEqual([])
      for (const stop of stops.splice(0)) await stop()
    }
  })

  it('stay where nobody reads their cursor any more, or nothing can deliver them', async () => {
    const w = await setup()
    const place = {
      component: 'x',
      tenant: 'a',
      project: '',
      principal: '',
      source: '',
      attempts: 1,
      reason: 'no',
    }
    const where = { receivedAtMs: 7, row: 0, spans: 1, body: requestBatch(['ok1']).encode() }
    await w.letters.put([
      { ...place, ...where, cursor: 'traces/store/gone', seq: 1, format: 'otlp' },
      { ...place, ...where, cursor: 'traces/store/model', seq: 2, format: 'raw' },
    ])
    const { failed, letters } = await w.desk().retry({}, 10, NEVER)
    expect(letters).toBe(0)
    expect(failed.map(({ reason }) => reason)).toEqual([
      expect.stringContaining('no daemon has an exporter'),
      expect.stringContaining('no OTLP'),
    ])
    expect(await w.desk().list({})).toHaveLength(2)
    expect(w.log.lastSeq).toBe(0)
  })

  it('are seen by their tenant only', async () => {
    const w = await setup()
    const common = {
      cursor: 'c',
      component: 'x',
      project: '',
      principal: '',
      source: '',
      attempts: 1,
      reason: 'no',
    }
    const rest = { receivedAtMs: 7, row: 0, spans: 1, format: 'otlp', body: new Uint8Array() } as const
    await w.letters.put(['a', 'b'].map((tenant, seq) => ({ ...common, ...rest, tenant, seq })))
    expect(await w.desk().list({ tenant: 'a' })).toMatchObject([{ tenant: 'a' }])
    await expect(w.desk().get('c@1.0', 'a')).rejects.toMatchObject({ code: 'NOT_FOUND' })
    expect(await w.desk().purge({ tenant: 'a', ids: ['c@0.0', 'c@1.0'] }, 10)).toMatchObject({ letters: 1 })
    expect(await w.desk().list({})).toMatchObject([{ tenant: 'b' }])
  })
})
