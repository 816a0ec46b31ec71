import { createHash } from 'node:crypto'
import { EventEmitter, once } from 'node:events'
import * as fc from 'fast-check'
import pino from 'pino'
import { describe, expect, it } from 'vitest'
import { CURSOR, member } from '../../test/contract/reader-world.ts'
import { MemoryDriver, MemoryLog, MemoryState } from '../../test/contract/wal-memory.ts'
import { retry } from '../fault.ts'
import { HeldCursor, registerCursor } from './cursor-store.ts'
import { DedupeJournal } from './dedupe-journal.ts'
import { pageKey, PAGE_SIGHTINGS, readPages } from './dedupe-pages.ts'
import { rebuildWindow } from './dedupe-rebuild.ts'
import { encodeEnvelope } from './envelope.ts'
import { RangeSource, type RawRange } from './reader-source.ts'

const LIMITS = { windowMs: 100_000, maxBytes: 1e9 }
/** So much at once is due to be saved. */
const MUCH = 64 * 1024 * 1024
const ONE = member(['x'])
const NEVER = new AbortController().signal
const isMine = (cursor: string): boolean => cursor === CURSOR
const silent = pino({ level: 'silent' })

class World {
  readonly log = new MemoryLog()
  readonly driver = new MemoryDriver(this.log, 1e9)
  readonly state = new MemoryState()
  readonly place = { connector: 'wal', state: this.state }

  async append(...keys: readonly string[]): Promise<void> {
    const members = keys.map((key) => ({
      ...ONE,
      digest: createHash('sha256').update(key).digest().subarray(0, 16),
    }))
    await this.driver.append({ signal: 'traces', tenant: 'a', id: 'x', parts: encodeEnvelope(members) })
  }

  /** A reader of the cursor as after a crash: nothing is known but what lies in the log and in state. */
  async reader(fence = 1, maxBytes = 0): Promise<Reader> {
    await registerCursor(this.state, 'wal', CURSOR, 1, 0)
    const held = await HeldCursor.take(this.state, 'wal', CURSOR, fence, () => 0)
    const { position } = held.record
    const pages = await readPages(this.place, held.record, position, LIMITS)
    const options = { isMine, limits: LIMITS, maxBytes, pages }
    const rebuilt = await rebuildWindow(this.driver, position, NEVER, options)
    const journal = new DedupeJournal(held, rebuilt, { ...this.place, log: silent }, NEVER)
    await journal.begin()
    const batching = { maxSpans: 1, maxBytes: 1e9, maxWaitMs: 0 }
    const source = new RangeSource(this.driver, position, rebuilt.window, batching, isMine)
    return new Reader(this, held, journal, source)
  }
}

class Reader {
  readonly #world: World
  readonly #held: HeldCursor
  readonly #journal: DedupeJournal
  readonly #source: RangeSource

  constructor(world: World, held: HeldCursor, journal: DedupeJournal, source: RangeSource) {
    this.#world = world
    this.#held = held
    this.#journal = journal
    this.#source = source
  }

  get record() {
    return this.#held.record
  }

  async pages() {
    const { place } = this.#world
    const pages = await readPages(place, this.record, Infinity, LIMITS)
    return pages.map(({ number, from, upTo, times }) => [number, from, upTo, times.length])
  }

  /** The next message: what was no duplicate of it. `much`: enough that it is noted in state. */
  async pass(much = true): Promise<RawRange> {
    const raw = (await this.#source.next(NEVER))!
    await this.#held.save({ position: raw.to + 1 }, NEVER)
    this.#journal.note({ marks: raw.marks, bytes: much ? MUCH : 1 })
    await this.#journal.saveIfDue()
    return raw
  }

  /** All that the trimmer may delete. */
  async trim(): Promise<void> {
    const { position, window } = this.record
    await this.#world.driver.trim(Math.min(position - 1, window!.upTo))
  }
}

describe('dedupe journal', () => {
  it('gives every reader the window that the one before it had, whatever was trimmed meanwhile', async () => {
    const step = fc.record({
      keys: fc.array(fc.nat(9), { minLength: 1, maxLength: 4 }),
      ms: fc.nat(40_000),
      much: fc.boolean(),
      crash: fc.boolean(),
      trim: fc.boolean(),
    })
    await fc.assert(
      fc.asyncProperty(fc.array(step, { maxLength: 40 }), async (steps) => {
        const world = new World()
        let reader = await world.reader()
        const log: { readonly key: number; readonly ms: number }[] = []
        for (const { keys, ms, much, crash, trim } of steps) {
          world.log.nowMs += ms
          const nowMs = world.log.nowMs
          const expected = keys.filter((key) => {
            const isRepeat = log.some((one) => one.key === key && nowMs - one.ms <= LIMITS.windowMs)
            log.push({ key, ms: nowMs })
            return !isRepeat
          })
          await world.append(...keys.map(String))
          expect((await reader.pass(much)).members).toHaveLength(expected.length)
          if (trim) await reader.trim()
          if (crash) reader = await world.reader(1, 1e9)
        }
      }),
      { numRuns: 150 },
    )
  })

  it('fills page after page, also within a message, and goes on with the newest after a restart', async () => {
    const world = new World()
    const keys = Array.from({ length: 36_000 }, (_, n) => String(n))
    const first = await world.reader()
    for (const [from, to] of [
      [0, 6000],
      [6000, 12_000],
      [12_000, 36_000],
    ] as const) {
      await world.append(...keys.slice(from, to))
      await first.pass()
    }
    expect(await first.pages()).toEqual([
      [0, 1, 1, PAGE_SIGHTINGS],
      [1, 2, 2, PAGE_SIGHTINGS],
      [2, 3, 2, PAGE_SIGHTINGS],
      [3, 3, 3, 6000],
    ])
    await first.trim()
    expect(world.log.messages).toEqual([])
    const second = await world.reader()
    await world.append(...keys.filter((_, n) => n % 999 === 0), 'new')
    expect((await second.pass()).members).toHaveLength(1)
    expect((await second.pages()).at(-1)).toEqual([3, 3, 4, 6000 + 37 + 1])
  })

  it('takes what it cannot read for absent, reads the log instead, and claims no more than it knows', async () => {
    const world = new World()
    const first = await world.reader()
    for (const key of ['a', 'b', 'c']) {
      world.log.nowMs += 31_000
      await world.append(key)
      await first.pass()
    }
    const whole = await first.pages()
    expect(whole).toEqual([
      [0, 1, 1, 1],
      [1, 2, 2, 1],
      [2, 3, 3, 1],
    ])
    const key = pageKey('wal', CURSOR, 1)
    const { value } = (await world.state.get(key))!
    const ofNewerWeir = Buffer.concat([Buffer.from([2]), value.subarray(1)])
    const ofOtherLog = Buffer.from(value).fill('x', 40, 41)
    const ofOtherNumber = (await world.state.get(pageKey('wal', CURSOR, 0)))!.value
    for (const bytes of [
      ofNewerWeir,
      ofOtherLog,
      ofOtherNumber,
      value.subarray(0, 30),
      value.subarray(0, -1),
    ]) {
      await world.state.put(key, bytes)
      expect(await first.pages()).toEqual(whole.slice(2))
    }
    await world.state.put(pageKey('wal', CURSOR, 2), Buffer.alloc(3))
    // The log has lost what the pages had: it is not claimed again.
    world.log.messages.splice(0, 2)
    const second = await world.reader(1, 1e9)
    await world.append('a', 'b', 'c')
    expect((await second.pass()).members.map(({ row }) => row)).toEqual([0, 1])
    expect(await second.pages()).toEqual([[0, 3, 4, 4]])
  })

  it('begins another page behind what neither the log nor a page has', async () => {
    const world = new World()
    const first = await world.reader()
    await world.append('a')
    await first.pass()
    await world.append('b')
    await first.pass(false)
    await world.append('c')
    await first.pass(false)
    world.log.messages.splice(0, 2)
    const second = await world.reader(1, 1e9)
    await world.append('a', 'b', 'c')
    expect((await second.pass()).members.map(({ row }) => row)).toEqual([1])
    expect(await second.pages()).toEqual([
      [0, 1, 1, 1],
      [1, 3, 4, 4],
    ])
  })

  it('says in the record how far it came, from the start', async () => {
    const world = new World()
    const reader = await world.reader()
    expect(reader.record.window).toEqual({ page: 0, upTo: 0 })
    await world.append('a')
    await reader.pass(false)
    expect(reader.record.window).toEqual({ page: 0, upTo: 0 })
    await world.append('b')
    await reader.pass()
    expect(reader.record.window).toEqual({ page: 0, upTo: 2 })
    expect(await reader.pages()).toEqual([[0, 1, 2, 2]])
  })

  it('is not overwritten by a holder whose page comes after the lease is lost', async () => {
    const world = new World()
    const zombie = await world.reader(1)
    await world.append('a')
    await zombie.pass()
    await world.append('b')
    // On the wire, as in a partition.
    const wire = new EventEmitter()
    const [sent, healed] = [once(wire, 'sent'), once(wire, 'healed')]
    const update = world.state.update.bind(world.state)
    world.state.update = async (key, value, revision) => {
      if (key !== pageKey('wal', CURSOR, 0)) return update(key, value, revision)
      world.state.update = update
      wire.emit('sent')
      await healed
      return update(key, value, revision)
    }
    const late = zombie.pass()
    await sent
    const next = await world.reader(2, 1e9)
    await world.append('c', 'd')
    await next.pass()
    await world.append('e')
    await next.pass()
    await next.trim()
    wire.emit('healed')
    await late
    const third = await world.reader(3)
    await world.append('a', 'b', 'c', 'd', 'e')
    expect((await third.pass()).members).toEqual([])
  })

  it('goes on where it stood when the state store is back, also after a write whose answer was lost', async () => {
    const world = new World()
    const reader = await world.reader()
    const create = world.state.create.bind(world.state)
    let fails = 3
    world.state.create = async (...args) => {
      if (fails-- > 1) throw retry('STATE_UNAVAILABLE', 'away')
      await create(...args)
      throw retry('STATE_UNAVAILABLE', 'the answer is lost')
    }
    for (const key of ['a', 'b', 'c', 'd']) {
      await world.append(key)
      await reader.pass()
    }
    expect(fails).toBe(0)
    expect(reader.record.window).toEqual({ page: 0, upTo: 4 })
    expect(await reader.pages()).toEqual([[0, 1, 4, 4]])
  })
})
