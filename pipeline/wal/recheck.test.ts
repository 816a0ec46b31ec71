import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { member, recordOf, stops } from '../../test/contract/reader-world.ts'
import { until } from '../../test/contract/until.ts'
import { MemoryDriver, MemoryLeases, MemoryLog, MemoryState } from '../../test/contract/wal-memory.ts'
import { rowsOf } from '../../test/contract/wal-world.ts'
import type { Claim, Delivery, Exporter } from '../component.ts'
import { reject, retry } from '../fault.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { registerCursor } from './cursor-store.ts'
import { DeadLetters } from './dead-letter.ts'
import { encodeEnvelope } from './envelope.ts'
import { EMPTY_LEDGER } from './ledger.ts'
import { ChainReader } from './reader.ts'
import { Trimmer } from './trimmer.ts'

const CURSOR = 'traces/store/lossy'
const AFTER_MS = 300

/** The first 64 bits of a row's name. */
const idOf = (row: string) => BigInt(`0x${Buffer.from(row.padEnd(8, '.')).subarray(-8).toString('hex')}`)
const sumOf = (rows: Iterable<string>) => Array.from(rows).reduce((sum, row) => sum ^ idOf(row), 0n)

/** Rows by their place in the WAL; `lose` takes some away, as a power loss does. */
class LossyStore {
  readonly rows = new Map<string, number>()
  readonly deliveries: {
    readonly from: number
    readonly to: number
    readonly attempt: number
    readonly token: string
  }[] = []
  readonly claims: Claim[] = []
  readonly bad = new Set<string>()
  onDeliver: () => Promise<void> = () => Promise.resolve()
  onHolds: () => void = () => undefined

  exporter(): Exporter {
    return {
      batching: { maxSpans: 4, maxBytes: 1e6, maxWaitMs: 0 },
      consume: () => Promise.reject(new Error('unused')),
      deliver: (delivery) => this.#deliver(delivery),
      recheck: { afterMs: AFTER_MS, holds: (claim) => this.#holds(claim) },
    }
  }

  lose(...rows: string[]): void {
    for (const row of rows) expect(this.rows.delete(row)).toBe(true)
  }

  async #deliver({ range, batches }: Delivery) {
    this.deliveries.push(range)
    await this.onDeliver()
    const rows = batches.flatMap(rowsOf)
    if (rows.some((row) => this.bad.has(row))) throw reject('EXPORT_REJECTED', 'a bad row')
    const added = range.attempt === 0 ? [] : rows.filter((row) => !this.rows.has(row))
    for (const row of rows) this.rows.set(row, range.attempt === 0 ? (this.rows.get(row) ?? 0) + 1 : 1)
    const receipt = {
      rows: rows.length,
      sum: sumOf(rows).toString(16),
      firstMs: 1,
      lastMs: 2,
      added: added.length,
    }
    return { rejected: [], receipts: [receipt] }
  }

  #holds(claim: Claim): Promise<boolean> {
    this.onHolds()
    this.claims.push(claim)
    const held = Array.from(this.rows.keys()).filter((row) => {
      const seq = Number(/@(\d+)/.exec(row)?.[1])
      return seq >= claim.from && seq <= claim.to
    })
    return Promise.resolve(held.length === claim.rows && sumOf(held) === BigInt(`0x${claim.sum}`))
  }
}

async function world() {
  const log = new MemoryLog()
  const state = new MemoryState()
  const meter = createMeter()
  const store = new LossyStore()
  const driver = new MemoryDriver(log)
  const leases = new MemoryLeases()
  const clock = { ms: Date.now() }
  const letters = new DeadLetters({ connector: 'wal', state, meter, clock: () => clock.ms, maxBytes: 1e6 })
  const shared = {
    connector: 'wal',
    driver,
    state,
    acquire: leases.acquire,
    letters,
    meter,
    clock: () => clock.ms,
  }
  await registerCursor(state, 'wal', CURSOR, 1, 0)
  const append = async (...names: string[]) => appendMembers(names)
  const appendMembers = async (...members: string[][]) => {
    const parts = encodeEnvelope(members.map((names) => member(names)))
    await driver.append({ signal: 'traces', tenant: 'a', id: 'x', parts })
  }
  const start = () => {
    const chain = {
      cursor: CURSOR,
      pipeline: 'traces/store',
      exporterId: 'lossy',
      process: () => undefined,
      first: true,
    }
    const options = { ...shared, log: pino({ level: 'silent' }), backoffMs: [1, 4] } as const
    const reader = new ChainReader({ ...chain, exporter: store.exporter() }, options)
    reader.start()
    stops.push(() => reader.stop(AbortSignal.timeout(1000)))
    return reader
  }
  const record = () => recordOf(state, CURSOR)
  const trimmer = (more: { keepMs: number }) =>
    new Trimmer({ ...shared, ...more, log: pino({ level: 'silent' }), configured: () => [CURSOR] })
  const proven = () => until(async () => (await record()).unproven?.length === 0)
  const stored = (position: number) => until(async () => (await record()).position === position)
  return { log, store, meter, letters, clock, append, appendMembers, start, record, trimmer, proven, stored }
}

describe('a destination that may lose what it took', () => {
  it('is asked for count and checksum after a while, also when nothing more comes; until then the log keeps it', async () => {
    const w = await world()
    for (let n = 0; n < 5; n++) await w.append(`ok${n}x`, `ok${n}y`)
    w.start()
    await w.stored(6)
    const { unproven } = await w.record()
    expect(unproven).toMatchObject([{ from: 1, to: 5, rows: 10 }])
    w.clock.ms += 100
    expect((await w.trimmer({ keepMs: 1 }).trim(AbortSignal.timeout(1000))).messages).toBe(5)
    await w.append('ok9')
    await w.stored(7)
    expect(w.store.claims).toEqual([])
    w.clock.ms += AFTER_MS
    await w.proven()
    expect(w.store.claims.map(({ from, to, rows }) => [from, to, rows])).toEqual([
      [1, 5, 10],
      [6, 6, 1],
    ])
    expect(w.store.deliveries.every(({ attempt }) => attempt === 0)).toBe(true)
    expect(await w.meter.render()).toMatch(/weir_rechecked_spans\{[^}]*outcome="held"\} 11/)
    await until(async () => (await w.trimmer({ keepMs: 1 }).trim(AbortSignal.timeout(1000))).messages === 0)
  })

  it('gets again what it lost, once, and nothing is booked twice', async () => {
    const w = await world()
    for (let n = 0; n < 5; n++) await w.append(`ok${n}x`, `ok${n}y`)
    w.start()
    await w.stored(6)
    const before = new Map(w.store.rows)
    const { ledger } = await w.record()
    w.store.lose('a/ok1x@2.0', 'a/ok4y@5.1')
    w.clock.ms += AFTER_MS
    await w.proven()
    expect(w.store.rows).toEqual(before)
    expect(await w.record()).toMatchObject({ position: 6, ledger })
    expect((await w.record()).frozen).toBeUndefined()
    expect(await w.meter.render()).toMatch(/weir_rechecked_spans\{[^}]*outcome="restored"\} 2/)
    await w.append('ok9')
    await w.stored(7)
    expect(w.store.deliveries.at(-1)).toMatchObject({ from: 6, attempt: 0 })
  })

  it('gets nothing that was a repeat of what the log has forgotten since', async () => {
    const w = await world()
    w.start()
    await w.append('x')
    await w.stored(2)
    w.clock.ms += 100
    await w.appendMembers(['x'], ['y'])
    await w.stored(3)
    await until(async () => (await w.record()).window?.upTo === 2)
    w.clock.ms += 250
    await until(async () => (await w.record()).unproven?.[0]?.from === 2)
    await until(async () => (await w.trimmer({ keepMs: 1 }).trim(AbortSignal.timeout(1000))).firstSeq === 2)
    w.store.lose('a/y@2.1')
    w.clock.ms += AFTER_MS
    await w.append('ok9')
    await until(async () => (await w.record()).unproven?.[0]?.from !== 2)
    expect(Array.from(w.store.rows.keys()).toSorted()).toEqual(['a/ok9@3.0', 'a/x@1.0', 'a/y@2.1'])
  })

  it('stopped in the midst of that, the next holder begins it again and goes on where the cursor was', async () => {
    const w = await world()
    for (let n = 0; n < 5; n++) await w.append(`ok${n}x`, `ok${n}y`)
    const first = w.start()
    await w.stored(6)
    w.store.lose('a/ok0x@1.0', 'a/ok4y@5.1')
    const deliveries = w.store.deliveries.length
    w.store.onDeliver = () => {
      if (w.store.deliveries.length > deliveries + 1) throw retry('EXPORT_UNAVAILABLE', 'away')
      return Promise.resolve()
    }
    w.clock.ms += AFTER_MS
    await until(() => w.store.deliveries.length > deliveries + 2)
    await w.append('ok9')
    await first.stop(AbortSignal.abort())
    expect((await w.record()).frozen).toMatchObject({ again: true })
    w.store.onDeliver = () => Promise.resolve()
    w.start()
    await w.stored(7)
    w.clock.ms += AFTER_MS
    await w.proven()
    expect(Array.from(w.store.rows.values())).toEqual(Array(11).fill(1))
    expect((await w.record()).ledger).toEqual({ ...EMPTY_LEDGER, passed: 11, stored: 11 })
  })

  it('that cannot be asked is asked later; the cursor moves on meanwhile', async () => {
    const w = await world()
    await w.append('ok1')
    w.start()
    await w.stored(2)
    let asked = 0
    w.store.onHolds = () => {
      if (++asked < 3) throw retry('EXPORT_UNAVAILABLE', 'away')
    }
    w.clock.ms += AFTER_MS
    await until(() => asked > 0)
    await w.append('ok2')
    await w.stored(3)
    await until(() => asked >= 3)
    await until(async () => (await w.record()).unproven?.[0]?.from !== 1)
  })

  it('whose rows somebody else shares is not asked for ever', async () => {
    const w = await world()
    w.start()
    for (let n = 0; n < 5; n++) {
      await w.append(`ok${n}`)
      await w.stored(n + 2)
      w.store.rows.set(`b/theirs@${n + 1}.0`, 1)
      w.clock.ms += AFTER_MS
      await until(async () => ((await w.record()).unproven ?? []).length === 0)
    }
    expect(w.store.claims.length).toBe(3)
  })

  it('does not make the log refuse what comes: above the last mark, what is delivered goes', async () => {
    const w = await world()
    for (let n = 0; n < 20; n++) await w.append(`ok${n}`)
    w.start()
    await w.stored(21)
    const { bytes } = await w.trimmer({ keepMs: 3_600_000 }).trim(AbortSignal.timeout(1000))
    w.log.maxBytes = Math.ceil(bytes / 0.9)
    expect((await w.trimmer({ keepMs: 3_600_000 }).trim(AbortSignal.timeout(1000))).messages).toBe(20)
    w.log.maxBytes = Math.ceil(bytes / 0.97)
    const { messages } = await w.trimmer({ keepMs: 3_600_000 }).trim(AbortSignal.timeout(1000))
    expect(messages).toBeLessThan(20)
    expect(messages).toBeGreaterThan(15)
  })
})
