import { describe, expect, it } from 'vitest'
import { retry } from '../../pipeline/fault.ts'
import { encodeEnvelope } from '../../pipeline/wal/envelope.ts'
import { lookbackOf } from '../../pipeline/wal/lookback.ts'
import { storedLogOf } from '../../pipeline/wal/stored-log.ts'
import { WalWriter } from '../../pipeline/wal/writer.ts'
import type { StoredLog, StoredMessage } from '../../pipeline/follower.ts'
import { createMeter } from '../../pipeline/telemetry/prom-meter.ts'
import { requestBatch } from './wal-spans.ts'
import type { OutgoingMessage, WalDriver, WalMessage, WalPort } from '../../pipeline/wal/driver.ts'

/** A place for one test: drivers opened on it share one log. */
interface WalPlace {
  open(): Promise<WalDriver>
  /** Closes all that was opened. */
  dispose(): Promise<void>
}

/** `maxBytes` bounds the log; the kit fills it. */
export type MakeWal = (options: { readonly maxBytes: number }) => Promise<WalPlace>

type Using = (test: (open: () => Promise<WalDriver>) => Promise<void>, maxBytes?: number) => Promise<void>

const MIB = 1024 * 1024

/** What every WalDriver promises. Run by each driver's test. */
export function walDriverContract(name: string, make: MakeWal): void {
  const using: Using = async (test, maxBytes = 256 * MIB) => {
    const here = await make({ maxBytes })
    try {
      await test(() => here.open())
    } finally {
      await here.dispose()
    }
  }
  describe(`${name}: appending`, () => appending(using))
  describe(`${name}: reading`, () => reading(using))
  describe(`${name}: removing`, () => removing(using))
  describe(`${name}: a lost end`, () => lostEnd(using))
  describe(`${name}: limits`, () => limits(using))
  describe(`${name}: looking back`, () => lookingBack(using))
  describe(`${name}: reading again`, () => readingAgain(using))
}

let made = 0

export function message(body: string | Uint8Array, tenant = 'default', id?: string): OutgoingMessage {
  const bytes = typeof body === 'string' ? Buffer.from(body) : body
  const middle = bytes.length >> 1
  return {
    signal: 'traces',
    tenant,
    id: id ?? `kit-${process.pid}-${made++}`,
    parts: [bytes.subarray(0, middle), bytes.subarray(middle)],
  }
}

const bodies = (messages: readonly WalMessage[]): string[] =>
  messages.map((message) => Buffer.from(message.bytes).toString())

const soon = (): AbortSignal => AbortSignal.timeout(60_000)

/** Reads `count` messages, copying them. */
export async function take(port: WalPort, count: number, maxBytes = 8 * MIB): Promise<WalMessage[]> {
  const found: WalMessage[] = []
  const signal = soon()
  while (found.length < count && !signal.aborted) {
    for (const next of await port.next(maxBytes, signal)) found.push({ ...next, bytes: next.bytes.slice() })
  }
  return found
}

function appending(using: Using): void {
  it('gives growing sequences and stores what it was given', () =>
    using(async (open) => {
      const wal = await open()
      const before = Date.now() - 60_000
      const first = await wal.append(message('one', 'acme'))
      const second = await wal.append(message('two'))
      expect(second).toBeGreaterThan(first)
      const found = await take(wal.reader(0), 2)
      expect(bodies(found)).toEqual(['one', 'two'])
      expect(found.map(({ seq, tenant, signal }) => ({ seq, tenant, signal }))).toEqual([
        { seq: first, tenant: 'acme', signal: 'traces' },
        { seq: second, tenant: 'default', signal: 'traces' },
      ])
      for (const { timeMs } of found) expect(timeMs).toBeGreaterThan(before)
    }))

  it('stores concurrent appends once each, in the order of their sequences', () =>
    using(async (open) => {
      const wal = await open()
      const names = Array.from({ length: 500 }, (_, at) => `m${at}`)
      const seqs = await Promise.all(names.map((name) => wal.append(message(name))))
      expect(new Set(seqs).size).toBe(500)
      const found = await take(wal.reader(0), 500)
      const order = found.map(({ seq }) => seq)
      expect(order).toEqual([...order].sort((a, b) => a - b))
      expect(new Map(found.map(({ seq, bytes }) => [seq, Buffer.from(bytes).toString()]))).toEqual(
        new Map(seqs.map((seq, at) => [seq, names[at]])),
      )
    }))

  it('stores an id once, however often its publisher repeats it', () =>
    using(async (open) => {
      const wal = await open()
      const same = message('once', 'default', 'the-id')
      const seqs = await Promise.all([wal.append(same), wal.append(same)])
      seqs.push(await wal.append(same))
      expect(new Set(seqs).size).toBe(1)
      expect(await wal.info()).toMatchObject({ messages: 1 })
    }))

  it('keeps everything over a close', () =>
    using(async (open) => {
      const wal = await open()
      const seq = await wal.append(message('kept'))
      await wal.close()
      await wal.close()
      await expect(wal.append(message('closed'))).rejects.toMatchObject({
        code: 'WAL_UNAVAILABLE',
        verdict: { do: 'retry' },
      })
      const again = await open()
      expect(bodies(await take(again.reader(0), 1))).toEqual(['kept'])
      expect(await again.append(message('next'))).toBeGreaterThan(seq)
    }))

  it('lets two append at once, each seeing the other’s messages', () =>
    using(async (open) => {
      const [one, two] = [await open(), await open()]
      const seqs = await Promise.all(
        Array.from({ length: 100 }, (_, at) => [one, two][at % 2]!.append(message(`m${at}`))),
      )
      expect(new Set(seqs).size).toBe(100)
      expect(await take(two.reader(0), 100)).toHaveLength(100)
    }))
}

function reading(using: Using): void {
  it('waits for the next message and wakes for it, also from another driver', () =>
    using(async (open) => {
      const [writer, store] = [await open(), await open()]
      const port = store.reader(0)
      for (const body of ['a', 'b']) {
        const next = port.next(MIB, soon())
        await writer.append(message(body))
        store.poke()
        expect(bodies(await next)).toEqual([body])
      }
      const unpoked = port.next(MIB, soon())
      await writer.append(message('c'))
      expect(bodies(await unpoked)).toEqual(['c'])
    }))

  it('resolves empty when aborted or closed, and loses nothing by it', () =>
    using(async (open) => {
      const wal = await open()
      const port = wal.reader(0)
      const end = new AbortController()
      const waiting = port.next(MIB, end.signal)
      end.abort()
      expect(await waiting).toEqual([])
      expect(await port.next(MIB, AbortSignal.abort())).toEqual([])
      await wal.append(message('after'))
      expect(bodies(await port.next(MIB, soon()))).toEqual(['after'])
      const closing = port.next(MIB, soon())
      await port.close()
      expect(await closing).toEqual([])
    }))

  it('gives at most about maxBytes, but always a message', () =>
    using(async (open) => {
      const wal = await open()
      const body = Buffer.alloc(100_000, 'x')
      await Promise.all(Array.from({ length: 10 }, () => wal.append(message(body))))
      await wal.append(message(Buffer.alloc(900_000, 'y')))
      const port = wal.reader(0)
      const sizes: number[] = []
      while (sizes.length < 11) {
        const slice = await port.next(250_000, soon())
        const bytes = slice.reduce((sum, { bytes }) => sum + bytes.length, 0)
        expect(slice.length).toBeGreaterThan(0)
        if (slice.length > 1) expect(bytes).toBeLessThanOrEqual(250_000)
        sizes.push(...slice.map(({ bytes }) => bytes.length))
      }
      expect(sizes).toEqual([...Array.from({ length: 10 }, () => 100_000), 900_000])
    }))

  it('keeps readers independent, and seeks either way', () =>
    using(async (open) => {
      const wal = await open()
      const seqs: number[] = []
      for (const body of ['a', 'b', 'c', 'd']) seqs.push(await wal.append(message(body)))
      const [one, two] = [wal.reader(0), wal.reader(seqs[2]!)]
      expect(bodies(await take(one, 4))).toEqual(['a', 'b', 'c', 'd'])
      expect(bodies(await take(two, 2))).toEqual(['c', 'd'])
      await one.seek(seqs[1]!)
      expect(bodies(await take(one, 3))).toEqual(['b', 'c', 'd'])
      await one.seek(seqs[3]! + 1)
      const next = one.next(MIB, soon())
      await wal.append(message('e'))
      expect(bodies(await next)).toEqual(['e'])
      expect(bodies(await take(two, 1))).toEqual(['e'])
    }))
}

function removing(using: Using): void {
  it('trims from the oldest end; readers go on behind the gap', () =>
    using(async (open) => {
      const wal = await open()
      const seqs: number[] = []
      for (let at = 0; at < 10; at++) seqs.push(await wal.append(message(`m${at}`)))
      await wal.trim(seqs[3]!)
      await wal.trim(seqs[3]!)
      await wal.trim(0)
      expect(await wal.info()).toMatchObject({ firstSeq: seqs[4], lastSeq: seqs[9], messages: 6 })
      expect(bodies(await take(wal.reader(0), 6))).toEqual(['m4', 'm5', 'm6', 'm7', 'm8', 'm9'])
      await wal.trim(seqs[9]!)
      const empty = await wal.info()
      expect(empty).toMatchObject({ lastSeq: seqs[9], firstSeq: seqs[9]! + 1, messages: 0, bytes: 0 })
      expect(empty.oldestMs).toBeUndefined()
      expect(await wal.append(message('later'))).toBeGreaterThan(seqs[9]!)
      expect(bodies(await take(wal.reader(0), 1))).toEqual(['later'])
    }))

  it('purges one tenant up to a sequence and leaves the others', () =>
    using(async (open) => {
      const wal = await open()
      const seqs: number[] = []
      for (const tenant of ['a', 'b', 'a', 'a-b', 'a']) seqs.push(await wal.append(message(tenant, tenant)))
      await wal.purgeTenant('a', seqs[2]!)
      const found = await take(wal.reader(0), 3)
      expect(found.map(({ seq, tenant }) => [seq, tenant])).toEqual([
        [seqs[1], 'b'],
        [seqs[3], 'a-b'],
        [seqs[4], 'a'],
      ])
      await wal.purgeTenant('nobody', seqs[4]!)
      expect((await wal.info()).messages).toBe(3)
    }))

  it('reports bytes and the oldest time as messages come and go', () =>
    using(async (open) => {
      const wal = await open()
      expect(await wal.info()).toMatchObject({ lastSeq: 0, firstSeq: 1, messages: 0, bytes: 0 })
      await wal.append(message(Buffer.alloc(10_000)))
      const second = await wal.append(message(Buffer.alloc(10_000)))
      const two = await wal.info()
      expect(two.bytes).toBeGreaterThanOrEqual(20_000)
      expect(two.oldestMs).toBeDefined()
      await wal.trim(second - 1)
      const one = await wal.info()
      expect(one.bytes * 2).toBe(two.bytes)
    }))
}

/** Appends until it is refused; returns why. */
export async function fill(wal: WalDriver, body: Uint8Array, seqs: number[]): Promise<unknown> {
  for (let at = 0; at < 50; at++) {
    try {
      seqs.push(await wal.append(message(body, 'default', `fill-${at}`)))
    } catch (error) {
      return error
    }
  }
  return undefined
}

function lostEnd(using: Using): void {
  it('gives no sequence twice, whatever end the log has lost', () =>
    using(async (open) => {
      const wal = await open()
      for (const body of ['a', 'b']) await wal.append(message(body))
      wal.guard(async () => 700)
      expect(await wal.append(message('c'))).toBe(701)
      wal.guard(async () => 1500)
      expect(await wal.append(message('d'))).toBe(1501)
      const port = wal.reader(0)
      const seen: number[] = []
      while (seen.at(-1) !== 1501)
        for (const { seq, lost } of await port.next(MIB, soon())) if (lost !== true) seen.push(seq)
      expect(seen).toEqual([1, 2, 701, 1501])
      // A position behind the end that was lost: what fills it up is not for its reader.
      const behind = wal.reader(1501)
      expect((await take(behind, 1)).map(({ seq }) => seq)).toEqual([1501])
    }))

  it('goes on behind the sequences of a log that is gone', () =>
    using(async (open) => {
      const wal = await open()
      wal.guard(async () => 2_000_000)
      expect(await wal.append(message('a'))).toBe(2_000_001)
    }))

  it('takes nothing as long as nobody can say what was used', () =>
    using(async (open) => {
      const wal = await open()
      let isDown = true
      wal.guard(async () => {
        if (isDown) throw retry('STATE_UNAVAILABLE', 'later')
        return 5
      })
      await expect(wal.append(message('a'))).rejects.toMatchObject({ verdict: { do: 'retry' } })
      isDown = false
      expect(await wal.append(message('a'))).toBe(6)
    }))

  it('says what it still holds', () =>
    using(async (open) => {
      const wal = await open()
      for (const body of ['a', 'b', 'c']) await wal.append(message(body))
      await wal.trim(1)
      const holds = [wal.holds(1, 1), wal.holds(1, 2), wal.holds(3, 3), wal.holds(4, 9)]
      expect(await Promise.all(holds)).toEqual([false, true, true, false])
    }))
}

function limits(using: Using): void {
  it('refuses when full, drops nothing, and takes again once trimmed', () =>
    using(async (open) => {
      const wal = await open()
      const body = Buffer.alloc(100_000, 'x')
      const seqs: number[] = []
      const full = await fill(wal, body, seqs)
      expect(full).toMatchObject({ code: 'WAL_FULL', verdict: { do: 'retry' } })
      expect(seqs.length).toBeGreaterThan(5)
      expect(await wal.info()).toMatchObject({ messages: seqs.length, firstSeq: seqs[0] })
      expect((await take(wal.reader(0), seqs.length)).map(({ seq }) => seq)).toEqual(seqs)
      await wal.trim(seqs[2]!)
      const again = message(body, 'default', `fill-${seqs.length}`)
      expect(await wal.append(again)).toBeGreaterThan(seqs.at(-1)!)
    }, MIB))

  it('takes a message of its limit and rejects one above it', () =>
    using(async (open) => {
      const wal = await open()
      const largest = Buffer.alloc(wal.maxMessageBytes - 1024, 'x')
      await wal.append(message(largest))
      const [found] = await take(wal.reader(0), 1)
      expect(Buffer.compare(found?.bytes ?? Buffer.alloc(0), largest)).toBe(0)
      await expect(wal.append(message(Buffer.alloc(wal.maxMessageBytes + 1024)))).rejects.toMatchObject({
        code: 'SPAN_TOO_LARGE',
        verdict: { do: 'reject' },
      })
    }))
}

function lookingBack(using: Using): void {
  const digest = Buffer.alloc(16, 7)
  const part = (tenant: string, firstRow: number, spans: number, key: Uint8Array = digest) => {
    const member = {
      digest: key,
      part: 0,
      firstRow,
      last: firstRow === 3,
      spans,
      principal: '',
      project: '',
      source: 'kit',
      receivedAtMs: 1,
    }
    return { ...message('', tenant), parts: encodeEnvelope([{ ...member, bytes: Buffer.from('otlp') }]) }
  }

  it('finds the rows of a batch that were stored behind a position, of its tenant alone', () =>
    using(async (open) => {
      const wal = await open()
      const back = lookbackOf(wal)
      const empty = await back.position()
      await wal.append(part('acme', 0, 3))
      const between = await back.position()
      await wal.append(part('acme', 3, 2))
      await wal.append(part('other', 5, 9))
      await wal.append(part('acme', 0, 9, Buffer.alloc(16, 8)))
      expect(await back.stored('acme', digest, empty, soon())).toEqual([
        { first: 0, end: 3, last: false },
        { first: 3, end: 5, last: true },
      ])
      expect(await back.stored('acme', digest, between, soon())).toEqual([{ first: 3, end: 5, last: true }])
      expect(await back.stored('acme', digest, await back.position(), soon())).toEqual([])
    }))

  it('ends where what was asked for has been removed', () =>
    using(async (open) => {
      const wal = await open()
      const back = lookbackOf(wal)
      const start = await back.position()
      await wal.append(part('acme', 0, 1))
      const last = await wal.append(part('acme', 1, 1))
      await wal.purgeTenant('acme', last)
      expect(await back.stored('acme', digest, start, soon())).toEqual([])
    }))
}

/** What followers of the log have of it (`pipeline/wal/stored-log.ts`). */
function readingAgain(using: Using): void {
  const logOn = (driver: WalDriver): StoredLog => {
    const meter = createMeter()
    const options = { connector: 'wal', driver, meter, onAppended: () => undefined, maxPendingBytes: MIB }
    return storedLogOf('wal', driver, new WalWriter(options))
  }
  const names = (messages: readonly StoredMessage[]): unknown[] =>
    messages.map(({ seq, batches }) => [seq, batches.map((batch) => batch.name(0))])

  it('reads messages once more from one to another, in ranges, without repeats and without those that are gone', () =>
    using(async (open) => {
      const driver = await open()
      const log = logOn(driver)
      for (const name of ['ok_1', 'ok_2', 'ok_3', 'ok_3', 'ok_4', 'ok_5'])
        await log.append(requestBatch([name]), soon())
      await driver.trim(1)
      const limits = { maxSpans: 1, maxBytes: MIB, maxWaitMs: 0 }
      const scan = { from: 1, to: 5, cursor: 'none', limits, process: () => undefined }
      const seen: unknown[] = []
      for await (const { from, to, batches, duplicates } of log.scan(scan, soon()))
        seen.push([from, to, duplicates, batches.map((batch) => batch.name(0))])
      expect(seen).toEqual([
        [1, 2, 0, ['ok_2']],
        [3, 3, 0, ['ok_3']],
        [4, 4, 1, []],
        [5, 5, 0, ['ok_4']],
      ])
      expect(await log.span()).toMatchObject({ first: 2, last: 6 })
      expect(await log.seqAt(0, soon())).toBe(2)
    }))

  it('gives messages by their places, without those that are gone', () =>
    using(async (open) => {
      const driver = await open()
      const log = logOn(driver)
      expect(await log.head()).toBe(0)
      for (const name of ['ok_1', 'ok_2', 'ok_3', 'ok_4', 'ok_5'])
        await log.append(requestBatch([name]), soon())
      expect(await log.head()).toBe(5)
      const all = await log.read([1, 3, 4, 5], soon())
      expect(names(all)).toEqual([
        [1, ['ok_1']],
        [3, ['ok_3']],
        [4, ['ok_4']],
        [5, ['ok_5']],
      ])
      await driver.trim(3)
      expect(names(await log.read([1, 3, 4], soon()))).toEqual([[4, ['ok_4']]])
      expect(await log.read([], soon())).toEqual([])
    }))

  it('knows whether it has a batch', () =>
    using(async (open) => {
      const log = logOn(await open())
      const batch = requestBatch(['ok_1'])
      const { tenant, digest } = batch.meta
      expect(await log.has(tenant, digest, 0, soon())).toBe(false)
      await log.append(batch, soon())
      expect(await log.has(tenant, digest, 0, soon())).toBe(true)
      expect(await log.has(tenant, digest, 1, soon())).toBe(false)
    }))
}
