import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { describe, expect, it, onTestFinished } from 'vitest'
import type { FollowerTerm } from '../../pipeline/follower.ts'
import { EmbeddedState } from '../../pipeline/state/embedded.ts'
import type { StateStore } from '../../pipeline/state/state.ts'
import { cursorKey, decodeCursor, encodeCursor, newCursor } from '../../pipeline/wal/cursor-record.ts'
import { blockFor, DecisionLog } from './decision-log.ts'
import { BLOCK } from './decision.ts'
import { DecisionView } from './decision-view.ts'

const CURSOR = 'traces/store/sampling@ahead'
const KEY = cursorKey('wal', CURSOR)
const KEPT = { weight: 1, share: 1, isConsistent: true }
const LEFT_OUT = { weight: 0, share: 0, isConsistent: false }
const DATA = { walMs: 0, limiters: [] }
const keyOf = (n: number) => String.fromCharCode(1, 2, 3, 4, 5, 6, n >> 16, n & 0xffff)

function aGate() {
  let resolve = () => {}
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve: () => resolve() }
}

async function aState(): Promise<EmbeddedState> {
  const directory = await mkdtemp(join(tmpdir(), 'weir-decisions-'))
  const state = new EmbeddedState(directory)
  await state.open()
  onTestFinished(async () => {
    await state.close()
    await rm(directory, { recursive: true, force: true })
  })
  await state.create(KEY, encodeCursor(newCursor(CURSOR, 1, 0)))
  return state
}

/** `whenDone` holds up the write that makes decisions count. */
async function aTerm(state: StateStore, whenDone: () => Promise<unknown> = async () => undefined) {
  let entry = (await state.get(KEY))!
  const term: FollowerTerm = {
    record: () => decodeCursor(KEY, entry.value),
    async save(change) {
      if (change.data !== undefined) await whenDone()
      const value = encodeCursor({ ...term.record(), ...change })
      const revision = await state.update(KEY, value, entry.revision)
      if (revision === undefined) throw new Error('the lease is lost')
      entry = { key: KEY, value, revision }
    },
    state,
    passed: async () => 1,
    signal: new AbortController().signal,
  }
  return term
}

describe('the log of decisions', () => {
  it('does not count what another daemon wrote over, when the lease changed hands between two writes', async () => {
    const state = await aState()
    const gates = [aGate(), aGate()] as const
    const reached = [aGate(), aGate()] as const
    const open = async (n: 0 | 1) => {
      const hold = () => (reached[n].resolve(), gates[n].promise)
      return DecisionLog.open(await aTerm(state, hold), 'wal', BLOCK)
    }
    const old = await open(0)
    for (const n of [1, 2, 3]) old.add(keyOf(n), KEPT)
    const oldSaved = old.save(10, DATA).catch((error: unknown) => error)
    await reached[0].promise
    const next = await open(1)
    next.add(keyOf(1), KEPT)
    const nextSaved = next.save(5, DATA).catch((error: unknown) => error)
    await reached[1].promise
    gates[0].resolve()
    await oldSaved
    gates[1].resolve()
    await nextSaved
    const third = await DecisionLog.open(await aTerm(state), 'wal', BLOCK)
    expect(third.table.newest(keyOf(1))).toEqual(KEPT)
  })

  it('finds its blocks after it was stopped while it deleted old ones', async () => {
    const state = await aState()
    let deletions = 5
    const failing = new Proxy(state, {
      get(target, name) {
        if (name === 'delete' && deletions-- <= 0) return () => Promise.reject(new Error('dead'))
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    const term = await aTerm(failing)
    const log = await DecisionLog.open(term, 'wal', 4 * BLOCK)
    for (let block = 0; block < 8; block++) {
      for (let n = 0; n < BLOCK; n++) log.add(keyOf(block * BLOCK + n), KEPT)
      await log.save(10 * (block + 1), DATA)
    }
    const before = await blockFor(state, 'wal', term.record(), 75)
    const dying = async () => {
      await log.trim(75, 1)
      await log.save(90, DATA)
    }
    await expect(dying()).rejects.toThrow('dead')
    const again = await aTerm(state)
    expect(await blockFor(state, 'wal', again.record(), 75)).toBe(before)
    await expect(DecisionLog.open(again, 'wal', 4 * BLOCK)).resolves.toBeDefined()
  })
})

describe('the view of decisions', () => {
  it('does not go back when it is told of an older position after a newer one', async () => {
    const state = await aState()
    const log = await DecisionLog.open(await aTerm(state), 'wal', BLOCK)
    const older = (await state.get(KEY))!
    log.add(keyOf(1), LEFT_OUT)
    await log.save(10, DATA)
    const told = aGate()
    const stale = new Proxy(state, {
      get(target, name) {
        if (name === 'watch') {
          return async function* () {
            yield { key: KEY, value: older.value, revision: older.revision }
            told.resolve()
            await new Promise(() => undefined)
          }
        }
        const member: unknown = Reflect.get(target, name)
        return typeof member === 'function' ? member.bind(target) : member
      },
    })
    const view = new DecisionView({
      connector: 'wal',
      cursor: CURSOR,
      state: stale,
      log: pino({ level: 'silent' }),
      remembered: 4,
    })
    view.start()
    await told.promise
    const answer = await Promise.race([
      view.at(5),
      new Promise((resolve) => setTimeout(resolve, 2000, 'waits')),
    ])
    expect(answer).not.toBe('waits')
  })
})
