import { createHash } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import pino from 'pino'
import { expect, test } from 'vitest'
import type { Exporter } from '../../pipeline/component.ts'
import { faultOf, retry } from '../../pipeline/fault.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { cursorKey, decodeCursor, type CursorRecord } from '../../pipeline/wal/cursor-record.ts'
import { registerCursor } from '../../pipeline/wal/cursor-store.ts'
import { DeadLetters } from '../../pipeline/wal/dead-letter.ts'
import { encodeEnvelope } from '../../pipeline/wal/envelope.ts'
import { ChainReader } from '../../pipeline/wal/reader.ts'
import { RECEIVED_AT_MS, testBatch } from './exporter.ts'
import { MemoryDriver, MemoryLeases, MemoryLog, MemoryState } from './wal-memory.ts'

/**
 * What the destination does with one request. `refuse`: nothing is stored, come again. `lose`: all is stored and the
 * answer is lost. `reject`: nothing is stored, ever. `partial`: all but the bad spans are stored.
 */
export type Ruling = 'take' | 'refuse' | 'lose' | 'reject' | 'partial' | 'hang'

/** Asked by the destination once per request. `holds` tells whether the request has that span. */
export type Judge = (holds: (spanId: string) => boolean) => {
  ruling: Ruling
  bad: readonly string[]
  slowMs: number
}

export type Weather = 'accept' | 'retry' | 'reject' | 'partial' | 'slow' | 'hang' | 'restart'

export interface Destination {
  /** A new exporter over this destination, not started. */
  make(): Exporter
  /** Span ids that it holds, hexadecimal, one per stored copy. */
  stored(): Promise<readonly string[]>
  close(): Promise<void>
}

export interface DeliveryContract {
  readonly name: string
  /** An empty destination that asks `judge` what to do with each request. */
  readonly open: (judge: Judge, weather: Weather) => Promise<Destination>
  /** What this kind of destination can do to an exporter. */
  readonly weathers: readonly Weather[]
  /** No repeat ever stores twice. Else only what was in flight at an uncertain end may be there again. */
  readonly exactlyOnce: boolean
  /** Spans per weather; `WEIR_CONTRACT_SPANS` overrides it. */
  readonly spans?: number
  /** What a delivery that hangs costs: the exporter's own timeout should be about this. */
  readonly deadlineMs?: number
}

const CONNECTOR = 'wal'
const CURSOR = 'traces/store/tested'
const SPANS_PER_MESSAGE = 500
const SPANS_PER_RANGE = 2000
const BAD_SPANS = 12
const STOP_MS = 5000

/**
 * An exporter behind the real WAL reader, with a destination in all kinds of weather: whatever comes, each span is
 * stored or dead-lettered, once where the exporter promises it, and the ledger balances.
 */
export function deliveryContract(contract: DeliveryContract): void {
  const total = Number(process.env['WEIR_CONTRACT_SPANS'] ?? contract.spans ?? 4000)
  const timeout = 300_000 * Math.max(1, total / 20_000)
  for (const weather of contract.weathers) {
    test(`${contract.name}: ${weather}: every span is stored or a dead letter`, { timeout }, ({ signal }) =>
      runWeather(contract, weather, total, signal),
    )
  }
}

async function runWeather(
  contract: DeliveryContract,
  weather: Weather,
  total: number,
  signal: AbortSignal,
): Promise<void> {
  const bad = new Set(weather === 'reject' || weather === 'partial' ? badIds(total) : [])
  const destination = await contract.open(judgeOf(weather, bad), weather)
  const wal = await walWith(total)
  try {
    let reader = wal.read(destination.make(), contract.deadlineMs)
    if (weather === 'restart') {
      for (const part of [0.2, 0.5, 0.8]) {
        await wal.until(reader, part * total, signal)
        await reader.stop(0)
        reader = wal.read(destination.make(), contract.deadlineMs)
      }
    }
    await wal.until(reader, total, signal)
    await reader.stop(STOP_MS)
    await judge(contract, weather, total, bad, await destination.stored(), wal)
  } finally {
    await wal.stop()
    await destination.close()
  }
}

async function judge(
  { exactlyOnce }: DeliveryContract,
  weather: Weather,
  total: number,
  bad: ReadonlySet<string>,
  stored: readonly string[],
  wal: Wal,
): Promise<void> {
  const { ledger } = await wal.record()
  const dead = await wal.letters.list()
  const lettered = dead.reduce((sum, letter) => sum + letter.spans, 0)
  const unique = new Set(stored)
  expect(ledger).toMatchObject({ passed: total, stored: total - bad.size, dead_lettered: bad.size })
  expect(lettered).toBe(bad.size)
  expect(dead.every(({ reason }) => reason !== '')).toBe(true)
  expect(unique.size).toBe(total - bad.size)
  for (const id of bad) expect(unique.has(id)).toBe(false)
  const repeated = stored.length - unique.size
  const mayRepeat = !exactlyOnce && ['retry', 'hang', 'restart'].includes(weather)
  expect(repeated).toBeLessThanOrEqual(mayRepeat ? wal.failures() * SPANS_PER_RANGE : 0)
}

/** Ids that occur once in the whole data, spread over it. */
function badIds(total: number): string[] {
  return Array.from({ length: BAD_SPANS }, (_, i) => spanId(Math.floor(((i + 0.5) * total) / BAD_SPANS)))
}

function spanId(index: number): string {
  return createHash('sha256').update(`span ${index}`).digest('hex').slice(0, 16)
}

function judgeOf(weather: Weather, bad: ReadonlySet<string>): Judge {
  let asked = 0
  const ids = Array.from(bad)
  return (holds) => {
    const turn = asked++
    const found = ids.filter(holds)
    const plain = { bad: found, slowMs: 0 }
    if (weather === 'slow') return { ...plain, ruling: 'take', slowMs: 20 }
    if (weather === 'retry' && turn % 3 !== 2) return { ...plain, ruling: turn % 3 === 0 ? 'refuse' : 'lose' }
    if (weather === 'hang' && turn % 5 === 1) return { ...plain, ruling: 'hang' }
    if (weather === 'restart') return { ...plain, ruling: 'take', slowMs: 5 }
    if (found.length === 0) return { ...plain, ruling: 'take' }
    return { ...plain, ruling: weather === 'partial' ? 'partial' : 'reject' }
  }
}

type Wal = Awaited<ReturnType<typeof walWith>>

async function walWith(total: number) {
  const log = new MemoryLog()
  log.maxBytes = Number.MAX_SAFE_INTEGER
  const state = new MemoryState()
  const meter = createMeter()
  const driver = new MemoryDriver(log)
  const leases = new MemoryLeases()
  const letters = new DeadLetters({ connector: CONNECTOR, state, meter, clock: Date.now, maxBytes: 1 << 26 })
  const readers: { stop(ms: number): Promise<void> }[] = []
  let failed = 0
  await registerCursor(state, CONNECTOR, CURSOR, 1, 0)
  for (let from = 0; from < total; from += SPANS_PER_MESSAGE) {
    await driver.append({ signal: 'traces', tenant: 'a', id: 'x', parts: message(from, total) })
  }
  const record = async (): Promise<CursorRecord> => {
    const key = cursorKey(CONNECTOR, CURSOR)
    return decodeCursor(key, (await state.get(key))?.value ?? new Uint8Array())
  }
  const read = (exporter: Exporter, deadlineMs = 120_000) => {
    const counted = counting(exporter, () => failed++)
    const reader = new ChainReader(
      {
        cursor: CURSOR,
        pipeline: 'traces/store',
        exporterId: 'tested',
        process: () => undefined,
        exporter: counted,
        first: true,
      },
      {
        connector: CONNECTOR,
        driver,
        state,
        acquire: leases.acquire,
        letters,
        log: pino({ level: 'silent' }),
        meter,
        clock: Date.now,
        deliverTimeoutMs: deadlineMs,
        backoffMs: [1, 4],
      },
    )
    const started = Promise.resolve(exporter.start?.()).then(() => reader.start())
    const made = {
      started,
      stop: async (ms: number) => {
        await started
        await reader.stop(ms === 0 ? AbortSignal.abort() : AbortSignal.timeout(ms))
        await exporter.stop?.(AbortSignal.timeout(STOP_MS))
      },
    }
    readers.push(made)
    return made
  }
  const until = async (
    { started }: { readonly started: Promise<void> },
    spans: number,
    signal: AbortSignal,
  ) => {
    await started
    while ((await record()).ledger.passed < spans) await delay(2, undefined, { signal })
  }
  const stop = async () => {
    for (const reader of readers) await reader.stop(0)
  }
  return { letters, record, read, until, stop, failures: () => failed }
}

function message(from: number, total: number): Uint8Array[] {
  const count = Math.min(SPANS_PER_MESSAGE, total - from)
  const spans = Array.from({ length: count }, (_, i) => ({ spanId: spanId(from + i), name: `s${from + i}` }))
  const bytes = testBatch(spans).encode()
  const digest = createHash('sha256').update(bytes).digest().subarray(0, 16)
  const place = { part: 0, firstRow: 0, last: true, principal: '', project: '', source: 'test' }
  return encodeEnvelope([{ digest, ...place, receivedAtMs: RECEIVED_AT_MS, spans: count, bytes }])
}

/** Small ranges, so that much is repeated; counts the deliveries whose end was an error. */
function counting(exporter: Exporter, failed: () => void): Exporter {
  const counted = <T>(work: Promise<T>): Promise<T> =>
    work.catch((error: unknown) => {
      failed()
      // How long a destination wants to be left alone is not waited for here.
      const fault = faultOf(error)
      throw fault?.verdict.do === 'retry' ? retry(fault.code, fault.message) : error
    })
  return {
    batching: { maxSpans: SPANS_PER_RANGE, maxBytes: 1 << 23, maxWaitMs: 0 },
    consume: (batch, signal) => counted(exporter.consume(batch, signal)),
    ...(exporter.deliver !== undefined && {
      deliver: (delivery, signal) =>
        counted(exporter.deliver?.(delivery, signal) ?? Promise.reject(new Error('gone'))),
    }),
    ...(exporter.stage !== undefined && { stage: (batches) => exporter.stage?.(batches) }),
  }
}
