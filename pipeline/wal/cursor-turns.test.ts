import { expect, test } from 'vitest'
import { pino } from 'pino'
import { CursorTurns, type TurnOptions } from './cursor-turns.ts'
import type { Hold } from './reader.ts'

test('a lease that is lost ends what was under way quietly: another drives on', async () => {
  const lines: string[] = []
  const log = pino({ level: 'info' }, { write: (line) => void lines.push(line) })
  const ending = new AbortController()
  const lost = new AbortController()
  const hold: Hold = { fence: 1, lost: lost.signal, release: async () => undefined }
  const options = {
    connector: 'wal',
    driver: {} as TurnOptions['driver'],
    acquire: async () => hold,
    log: log as unknown as TurnOptions['log'],
    clock: Date.now,
    backoffMs: [1, 1] as const,
  }
  const turns = new CursorTurns('traces/store/s3', 'cursor', options)
  let times = 0
  await turns.run(ending.signal, async () => {
    if (++times === 3) return ending.abort()
    lost.abort()
    lost.signal.throwIfAborted()
  })
  const said = lines.map(
    (line) => JSON.parse(line) as { level: number; msg: string; code?: string; err?: unknown },
  )
  expect(said).toHaveLength(2)
  expect(said[0]).toMatchObject({ level: 30, msg: 'Standing by', code: 'LEASE_LOST' })
  expect(said[0]?.err).toBeUndefined()
  expect(turns.failing).toBeUndefined()
})
