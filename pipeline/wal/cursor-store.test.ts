import { describe, expect, it } from 'vitest'
import { MemoryState, SteppedState } from '../../test/contract/wal-memory.ts'
import { faultOf, retry } from '../fault.ts'
import { cursorKey } from './cursor-record.ts'
import { HeldCursor, highestPassed, listCursors, registerCursor } from './cursor-store.ts'

const never = new AbortController().signal
const clock = () => 1000

async function setup() {
  const state = new MemoryState()
  await registerCursor(state, 'wal', 'traces/x', 5, 0)
  const take = (fence: number, store: MemoryState | SteppedState = state) =>
    HeldCursor.take(store, 'wal', 'traces/x', fence, clock)
  return { state, take }
}

async function codeOf(work: Promise<unknown>): Promise<string | undefined> {
  return work.then(
    () => undefined,
    (error: unknown) => faultOf(error)?.code ?? String(error),
  )
}

describe('cursor record', () => {
  it('is made once, at its first position', async () => {
    const { state } = await setup()
    const again = await registerCursor(state, 'wal', 'traces/x', 99, 1)
    expect(again.position).toBe(5)
    expect((await listCursors(state, 'wal')).map(({ record }) => record.cursor)).toEqual(['traces/x'])
  })

  it('tells a holder that another one wrote', async () => {
    const { take } = await setup()
    const old = await take(1)
    const young = await take(2)
    await young.save({ position: 6 }, never)
    expect(await codeOf(old.save({ position: 7 }, never))).toBe('LEASE_LOST')
    expect(await codeOf(take(1))).toBe('LEASE_LOST')
    expect((await take(3)).record).toMatchObject({ position: 6, fence: 2 })
  })

  it('knows its own write when the answer was lost', async () => {
    const { state, take } = await setup()
    let losses = 2
    const flaky = new SteppedState(state, async () => {
      // Called before and after each write: the second call of the first write fails after it landed.
      if (--losses === 0) throw retry('STATE_UNAVAILABLE', 'the answer is lost')
    })
    const held = await take(1, flaky)
    await held.save({ position: 8 }, never)
    await held.save({ position: 9 }, never)
    expect((await take(2)).record.position).toBe(9)
  })

  it('tells how far the log was read; where that cannot be told, writes may come again', async () => {
    const { state, take } = await setup()
    expect(await highestPassed(state, 'wal')).toBe(4)
    const frozen = { from: 5, to: 9, token: 't', rows: 5, attempt: 0, firstTryMs: 0 }
    await (await take(1)).save({ frozen }, never)
    expect(await highestPassed(state, 'wal')).toBe(9)
    for (const damaged of ['{"v":2}', 'no JSON']) {
      await state.put(cursorKey('wal', 'traces/y'), Buffer.from(damaged))
      await expect(highestPassed(state, 'wal')).rejects.toMatchObject({
        code: 'STATE_UNAVAILABLE',
        verdict: { do: 'retry' },
      })
    }
  })

  it('refuses a record of a newer version by name', async () => {
    const { state, take } = await setup()
    await state.put(cursorKey('wal', 'traces/x'), Buffer.from('{"v":2}'))
    expect(await codeOf(take(1))).toBe('STATE_VERSION')
    expect(await codeOf(registerCursor(state, 'wal', 'traces/x', 1, 0))).toBe('STATE_VERSION')
  })
})
