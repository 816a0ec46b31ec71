import { expect, test } from 'vitest'
import { pino } from 'pino'
import { CursorTurns, type TurnOptions } from './cursor-turns.ts'
import type { Hold } from './reader.ts'

/** Turns under leases that count as lost once they are released, and what is logged meanwhile. */
function someTurns() {
  const said: { level: number; msg: string; code?: string; err?: unknown }[] = []
  const log = pino({ level: 'info' }, { write: (line) => void said.push(JSON.parse(line)) })
  const lost: AbortController[] = []
  const acquire = async (): Promise<Hold> => {
    const one = new AbortController()
    lost.push(one)
    return { fence: lost.length, lost: one.signal, release: async () => one.abort() }
  }
  const turns = new CursorTurns('traces/store/s3', 'cursor', {
    connector: 'wal',
    driver: {} as TurnOptions['driver'],
    acquire,
    log,
    clock: Date.now,
    backoffMs: [1, 1],
  })
  return { turns, said, lost }
}

test('a lease that is lost ends what was under way quietly: another drives on', async () => {
  const ending = new AbortController()
  const { turns, said, lost } = someTurns()
  await turns.run(ending.signal, async (hold) => {
    if (lost.length === 3) return ending.abort()
    lost.at(-1)?.abort()
    hold.lost.throwIfAborted()
  })
  expect(said).toHaveLength(2)
  expect(said[0]).toMatchObject({ level: 30, msg: 'Standing by', code: 'LEASE_LOST' })
  expect(said[0]?.err).toBeUndefined()
  expect(turns.failing).toBeUndefined()
})

test('an error that nobody foresaw is told as such, and every lease is released', async () => {
  const ending = new AbortController()
  const { turns, said, lost } = someTurns()
  await turns.run(ending.signal, async () => {
    if (lost.length === 2) return ending.abort()
    // The lease runs out while the work winds up.
    lost.at(-1)?.abort()
    throw new TypeError('no such thing')
  })
  expect(said).toHaveLength(1)
  expect(said[0]).toMatchObject({ level: 50, msg: 'A cursor stands still', err: { type: 'TypeError' } })
  expect(turns.failing).toMatchObject({ message: 'no such thing' })
  expect(lost.map(({ signal }) => signal.aborted)).toEqual([true, true])
})
