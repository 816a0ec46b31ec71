import { expect, test } from 'vitest'
import { MemoryDriver, MemoryLog, MemoryState } from '../../test/contract/wal-memory.ts'
import { CursorDesk } from './cursor-desk.ts'
import { CursorSightings } from './cursor-seen.ts'
import { listCursors, registerCursor } from './cursor-store.ts'
import { pageKey, pagesPrefix } from './dedupe-pages.ts'

test('a cursor is removed only when no daemon has had it for a while', async () => {
  const state = new MemoryState()
  let now = 1000
  const clock = () => now
  const sightings = new CursorSightings(state, 'wal', clock)
  const desk = new CursorDesk({
    connector: 'wal',
    driver: new MemoryDriver(new MemoryLog()),
    state,
    sightings,
    clock,
  })
  await registerCursor(state, 'wal', 'traces/store/old', 1, now)
  await sightings.touch(['traces/store/old'])
  await expect(desk.remove('traces/store/old')).rejects.toMatchObject({ code: 'CONFLICT' })
  await state.put(pageKey('wal', 'traces/store/old', 0), Buffer.from('page'))
  now += 11 * 60_000
  const [view] = await desk.list(new AbortController().signal)
  expect(view).toMatchObject({ wanted: false, seenMs: 1000, record: { cursor: 'traces/store/old' } })
  expect([await desk.remove('traces/store/old'), await desk.remove('traces/store/old')]).toEqual([
    true,
    false,
  ])
  expect(await listCursors(state, 'wal')).toEqual([])
  expect(await state.list(pagesPrefix('wal', 'traces/store/old'))).toEqual([])
})
