import pino from 'pino'
import { afterEach } from 'vitest'
import type { StateStore } from '../../pipeline/state/state.ts'
import { cursorKey, decodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { encodeEnvelope, type Member } from '../../pipeline/wal/envelope.ts'
import { ChainReader } from '../../pipeline/wal/reader.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { MemoryDriver, MemoryLeases, MemoryLog, MemoryState } from './wal-memory.ts'
import { requestBatch, spansRequest } from './wal-spans.ts'
import { modelChain, ModelStore, type ChainOptions } from './wal-world.ts'

/** The cursor of `modelChain`. */
export const CURSOR = 'traces/store/model'
/** Run after each test. */
export const stops: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const stop of stops.splice(0)) await stop()
})

/** A member of these spans. */
export function member(names: readonly string[], fields: Partial<Member> = {}): Member {
  const bytes = fields.bytes ?? spansRequest(names)
  const { digest } = requestBatch(names).meta
  const common = {
    part: 0,
    firstRow: 0,
    last: true,
    principal: 'p',
    project: '',
    source: 's',
    receivedAtMs: 7,
  }
  return { digest, ...common, spans: names.length, ...fields, bytes }
}

/** Of a cursor of the connector `wal`. */
export async function recordOf(state: StateStore, cursor: string): Promise<CursorRecord> {
  const key = cursorKey('wal', cursor)
  return decodeCursor(key, (await state.get(key))?.value ?? new Uint8Array())
}

/** Readers of one cursor over a log in memory, from `position` on. */
export async function setup(position = 1) {
  const log = new MemoryLog()
  const state = new MemoryState()
  const meter = createMeter()
  const store = new ModelStore()
  const driver = new MemoryDriver(log)
  const letters = new DeadLetters({ connector: 'wal', state, meter, clock: Date.now, maxBytes: 1e6 })
  await registerCursor(state, 'wal', CURSOR, position, 0)
  const append = (members: readonly Member[]) =>
    driver.append({ signal: 'traces', tenant: 'a', id: 'x', parts: encodeEnvelope(members) })
  /** Of whatever works on this log. */
  const options = () => ({
    connector: 'wal',
    driver,
    state,
    acquire: new MemoryLeases().acquire,
    letters,
    log: pino({ level: 'silent' }),
    meter,
    clock: Date.now,
    backoffMs: [1, 4] as const,
  })
  const start = (chain: Partial<ChainOptions> = {}) => {
    const batching = { maxSpans: 100, maxBytes: 1e6, maxWaitMs: 0 }
    const reader = new ChainReader(modelChain({ store, batching, ...chain }), options())
    reader.start()
    stops.push(() => reader.stop(AbortSignal.timeout(1000)))
    return reader
  }
  const record = () => recordOf(state, CURSOR)
  return { log, state, meter, store, letters, append, options, start, record }
}
