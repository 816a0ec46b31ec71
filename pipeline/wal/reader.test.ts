import { once } from 'node:events'
import { setImmediate as nextTurn, setTimeout as delay } from 'node:timers/promises'
import { describe, expect, it } from 'vitest'
import { CURSOR, member, setup, stops } from '../../test/contract/reader-world.ts'
import { until } from '../../test/contract/until.ts'
import { MemoryDriver } from '../../test/contract/wal-memory.ts'
import { modelChain, spanOf } from '../../test/contract/wal-world.ts'
import { reject, retry } from '../fault.ts'
import { cursorKey } from './cursor-record.ts'
import { encodeEnvelope } from './envelope.ts'
import { EMPTY_LEDGER } from './ledger.ts'
import type { WalPort } from './driver.ts'
import { DedupeWindow } from './dedupe.ts'
import { ChainReader } from './reader.ts'
import { BATCHING_DEFAULTS, RangeSource } from './reader-source.ts'
import { Trimmer } from './trimmer.ts'

describe('chain reader', () => {
  it('says that it fails, and since when, as long as a processor asks it to try again', async () => {
    const { append, start, record } = await setup()
    await append([member(['a'])])
    let asked = 0
    let isDown = true
    const reader = start({
      process() {
        asked++
        if (isDown) throw retry('EXPORT_UNAVAILABLE', 'artifacts: SlowDown')
      },
    })
    await until(() => asked > 2 && reader.view().failing !== undefined)
    const first = reader.view().failing
    expect(first?.message).toBe('artifacts: SlowDown')
    const before = asked
    // A new turn has begun each time: that alone is no good sign.
    await until(() => {
      if (asked > before) expect(reader.view().failing).toEqual(first)
      return asked > before + 3
    })
    isDown = false
    await until(async () => (await record()).position === 2)
    expect(reader.view().failing).toBeUndefined()
  })

  it('gives neighbours that look alike as one batch, with rows counted over the message', async () => {
    const w = await setup()
    await w.append([
      member(['ok1']),
      member(['ok2', 'ok3']),
      member(['ok2', 'ok3']),
      member(['ok4']),
      member(['ok5'], { receivedAtMs: 8 }),
    ])
    w.start({ each: true })
    await until(async () => (await w.record()).position === 2)
    expect(w.store.deliveries.map(({ rows }) => rows.length)).toEqual([3, 1, 1])
    expect(w.store.rows).toEqual(['a/ok1@1.0', 'a/ok2@1.1', 'a/ok3@1.2', 'a/ok4@1.5', 'a/ok5@1.6'])
    expect((await w.record()).ledger).toEqual({ ...EMPTY_LEDGER, passed: 7, stored: 5, duplicate: 2 })
  })

  it('goes on behind a damaged message, which it keeps, and behind a member that is no OTLP', async () => {
    const w = await setup()
    await w.append([member(['ok1'])])
    await w.append([member(['ok2'])])
    await w.append([member(['ok3']), member(['x', 'y'], { bytes: Buffer.from([255, 255]) }), member(['ok4'])])
    w.log.messages[1]?.bytes.set([1], 30)
    w.start()
    await until(async () => (await w.record()).position === 4)
    expect(w.store.rows.map(spanOf)).toEqual(['a/ok1', 'a/ok3', 'a/ok4'])
    const letters = await w.letters.list()
    expect(letters.map(({ seq, spans, format, component }) => [seq, spans, format, component])).toEqual([
      [2, 0, 'raw', 'wal'],
      [3, 2, 'raw', 'wal'],
    ])
    expect((await w.letters.get(letters[0]?.id ?? '')).body).toEqual(w.log.messages[1]?.bytes)
    expect((await w.record()).ledger).toEqual({ ...EMPTY_LEDGER, passed: 5, stored: 3, dead_lettered: 2 })
  })

  it('stands still, and says so, at a message of a newer version', async () => {
    const w = await setup()
    await w.append([member(['ok1'])])
    w.log.messages[0]?.bytes.set([9], 4)
    const reader = w.start()
    await until(() => reader.view().failing !== undefined)
    expect(reader.view().failing?.message).toContain('envelope format 9')
    expect((await w.record()).position).toBe(1)
    w.log.messages[0]?.bytes.set([1], 4)
    await until(() => w.store.rows.length === 1)
    expect(reader.view().failing).toBeUndefined()
  })

  it('reads a log that was made anew from its start, under other tokens', async () => {
    const w = await setup(50)
    const { epoch } = await w.record()
    await w.append([member(['ok1'])])
    w.start()
    await until(() => w.store.rows.length === 1)
    expect((await w.record()).epoch).not.toBe(epoch)
  })

  it('repeats a frozen range of which messages were purged with what is left', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2', 'ok3']) await w.append([member([name])])
    const record = await w.record()
    const frozen = { from: 1, to: 2, token: 't', rows: 2, attempt: 0, firstTryMs: 0 }
    await w.state.put(cursorKey('wal', CURSOR), Buffer.from(JSON.stringify({ ...record, frozen })))
    w.log.messages.splice(0, 2)
    w.start()
    await until(async () => (await w.record()).position === 4)
    expect(w.store.rows.map(spanOf)).toEqual(['a/ok3'])
    expect((await w.record()).ledger).toEqual({ ...EMPTY_LEDGER, passed: 1, stored: 1 })
  })

  it('ends a frozen range at what the log holds, also with nothing behind it', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2']) await w.append([member([name])])
    const frozen = { from: 1, to: 2, token: 't', rows: 2, attempt: 0, firstTryMs: 0 }
    await w.state.put(
      cursorKey('wal', CURSOR),
      Buffer.from(JSON.stringify({ ...(await w.record()), frozen })),
    )
    w.log.messages.splice(1, 1)
    w.start()
    await until(async () => (await w.record()).position === 3)
    expect(w.store.rows.map(spanOf)).toEqual(['a/ok1'])
    expect((await w.letters.list()).map(({ reason }) => reason)).toEqual([
      expect.stringContaining('WAL message 2 is missing'),
    ])
  })

  it('tells of messages that the log has lost, once, and delivers what is around them', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2', 'ok3', 'ok4']) await w.append([member([name])])
    w.log.messages.splice(1, 2)
    w.start()
    await until(async () => (await w.record()).position === 5)
    expect(w.store.rows.map(spanOf)).toEqual(['a/ok1', 'a/ok4'])
    expect((await w.letters.list()).map(({ reason, spans }) => [reason, spans])).toEqual([
      [expect.stringContaining('WAL messages 2 to 3 are missing'), 0],
    ])
    await until(async () => /weir_wal_missing_messages\S*{.*\} 2/.test(await w.meter.render()))
  })

  it('stays where it is when the log has lost its end, and reads what comes behind it', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2', 'ok3']) await w.append([member([name])])
    const first = w.start()
    await until(async () => (await w.record()).position === 4)
    const { epoch } = await w.record()
    await first.stop(AbortSignal.timeout(1000))
    w.log.messages.splice(1, 2)
    w.log.lastSeq = 1
    w.start()
    await new Promise((resolve) => setTimeout(resolve, 50))
    // As `guard` does.
    w.log.lastSeq = 3
    await w.append([member(['ok4'])])
    await until(async () => (await w.record()).position === 5)
    expect(w.store.rows).toHaveLength(4)
    expect((await w.record()).epoch).toBe(epoch)
  })

  it('counts nothing that it had passed as missing while the end is filled up', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2', 'ok3', 'ok4']) await w.append([member([name])])
    const first = w.start()
    await until(async () => (await w.record()).position === 5)
    const { epoch } = await w.record()
    await first.stop(AbortSignal.timeout(1000))
    w.log.messages.splice(1, 3)
    const fill = (seq: number): void => {
      const bytes = Buffer.concat(encodeEnvelope([]))
      w.log.messages.push({ seq, timeMs: Date.now() + 1000, signal: 'traces', tenant: '', bytes, lost: true })
      w.log.lastSeq = seq
    }
    fill(2)
    w.start()
    await new Promise((resolve) => setTimeout(resolve, 50))
    for (const seq of [3, 4]) fill(seq)
    await w.append([member(['ok5'])])
    await until(async () => (await w.record()).position === 6)
    expect(w.store.rows.map(spanOf)).toContain('a/ok5')
    expect((await w.record()).epoch).toBe(epoch)
    expect(await w.letters.list()).toEqual([])
  })

  it('notes what was passed while a destination is away: what is delivered leaves the log', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2', 'ok3']) await w.append([member([name])])
    w.store.onCall = async ([row]) => {
      if (row !== 'a/ok1@1.0') throw retry('EXPORT_UNAVAILABLE', 'away')
    }
    w.start({ batching: { maxSpans: 1, maxBytes: 1e6, maxWaitMs: 0 } })
    await until(() => w.store.deliveries.length > 3)
    const trimmer = new Trimmer({
      ...w.options(),
      clock: () => w.log.nowMs + 3_600_000,
      keepMs: 1000,
      configured: () => [CURSOR],
    })
    await until(async () => (await trimmer.trim(AbortSignal.timeout(1000))).messages === 2)
    await trimmer.trim(AbortSignal.timeout(1000))
    expect(await w.meter.render()).toMatch(/weir_retention_overdue\{[^}]*\} 1/)
  })

  it('keeps what fails ahead while it notes what a long repeat delivered', async () => {
    const w = await setup()
    for (const name of ['ok1', 'ok2']) await w.append([member([name])])
    const record = await w.record()
    const frozen = { from: 1, to: 1, token: 't', rows: 1, attempt: 0, firstTryMs: 0 }
    await w.state.put(cursorKey('wal', CURSOR), Buffer.from(JSON.stringify({ ...record, frozen })))
    const unhandled: unknown[] = []
    const listener = (error: unknown) => unhandled.push(error)
    process.on('unhandledRejection', listener)
    stops.push(async () => void process.off('unhandledRejection', listener))
    const failed = new AbortController()
    const create = w.state.create.bind(w.state)
    w.state.create = async (...args) => {
      if (!failed.signal.aborted) await once(failed.signal, 'abort')
      await nextTurn()
      return create(...args)
    }
    // Long enough that noting is due when it is over.
    w.store.onCall = () => delay(1100)
    let asked = 0
    w.start({
      process() {
        if (++asked !== 2) return
        failed.abort()
        throw retry('STATE_UNAVAILABLE', 'a processor that cannot now')
      },
    })
    await until(async () => (await w.record()).position === 3)
    expect(unhandled).toEqual([])
  })

  it('does not take a slow answer for the end of a frozen range', async () => {
    const { log, append } = await setup()
    for (const name of ['ok1', 'ok2']) await append([member([name])])
    const driver = new MemoryDriver(log)
    let slow = 2
    const slowly = Object.assign(Object.create(driver) as MemoryDriver, {
      reader(from: number) {
        const port = driver.reader(from)
        const next: WalPort['next'] = async (...wait) => (slow-- > 0 ? [] : port.next(...wait))
        return { next, seek: (to: number) => port.seek(to), close: () => port.close() }
      },
    })
    const source = new RangeSource(slowly, 1, new DedupeWindow(), BATCHING_DEFAULTS, () => false)
    const range = await source.exactly(1, 2, AbortSignal.timeout(5000))
    expect(range).toMatchObject({ from: 1, to: 2, spans: 2, missing: [] })
    await source.close()
  })

  it('takes a processor’s rejection of a whole batch for its spans, and its retry for a pause', async () => {
    const w = await setup()
    await w.append([member(['ok1', 'ok2'])])
    let pauses = 2
    const chain = {
      ...modelChain({ store: w.store }),
      process: async () => {
        if (pauses-- > 0) throw retry('STATE_UNAVAILABLE', 'later')
        throw reject('BATCH_MALFORMED', 'never')
      },
    }
    const reader = new ChainReader(chain, w.options())
    reader.start()
    stops.push(() => reader.stop(AbortSignal.timeout(1000)))
    await until(async () => (await w.record()).position === 2)
    expect((await w.letters.list()).map(({ component, reason }) => [component, reason])).toEqual([
      ['processors', 'never'],
      ['processors', 'never'],
    ])
    expect((await w.record()).ledger).toEqual({ ...EMPTY_LEDGER, passed: 2, dead_lettered: 2 })
  })
})
