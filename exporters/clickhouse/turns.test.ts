import { expect, test } from 'vitest'
import { MemoryState } from '../../test/contract/wal-memory.ts'
import { TableTurns } from './turns.ts'

const NEVER = new AbortController().signal

test('who waits too long is told to come again, and who is at it; in another daemon, too', async () => {
  const state = new MemoryState()
  const [mine, theirs] = [new TableTurns(state), new TableTurns(state)]
  const reprice = { table: 't', what: 'a reprice', waitMs: 50 }
  let leave: () => void = () => undefined
  const left = new Promise<void>((resolve) => (leave = resolve))
  const first = mine.take({ table: 't', what: 'a redaction' }, NEVER, () => left)
  await expect(theirs.take(reprice, NEVER, () => Promise.resolve())).rejects.toMatchObject({
    code: 'EXPORT_UNAVAILABLE',
    verdict: { do: 'retry' },
    message: expect.stringMatching(/is being rewritten by a redaction on .*: come again/) as string,
  })
  expect(await theirs.take({ ...reprice, table: 'another' }, NEVER, () => Promise.resolve('alone'))).toBe(
    'alone',
  )
  leave()
  await first
  expect(await theirs.take(reprice, NEVER, () => Promise.resolve('now'))).toBe('now')
})

test('who is not wanted any more gets no turn, and leaves it when it fails', async () => {
  const turns = new TableTurns(new MemoryState())
  const replay = { table: 't', what: 'a replay' }
  const gone = AbortSignal.abort()
  await expect(turns.take(replay, gone, () => Promise.resolve())).rejects.toThrow('interrupted')
  await expect(turns.take(replay, NEVER, () => Promise.reject(new Error('no')))).rejects.toThrow('no')
  expect(await turns.take(replay, NEVER, () => Promise.resolve(1))).toBe(1)
})
