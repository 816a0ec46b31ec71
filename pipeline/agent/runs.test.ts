import { expect, it } from 'vitest'
import { MemoryState } from '../../test/contract/wal-memory.ts'
import type { StateKey } from '../state/state.ts'
import { runIdOf } from './ids.ts'
import type { RunRecord } from './run-record.ts'
import { RunStore } from './runs.ts'

it('holds as many keys in memory as it may, those of records too', async () => {
  const reads: string[] = []
  const state = new (class extends MemoryState {
    override get(key: StateKey) {
      reads.push(key)
      return super.get(key)
    }
  })()
  const store = new RunStore({ state: () => state, maxHeld: 100 })
  const [a, b] = [runIdOf('acme', 'a'), runIdOf('acme', 'b')]
  const key = (n: number) => ({
    key: `${n}`,
    body: '',
    first: n,
    last: n,
    accepted: 1,
    duplicates: 0,
    atMs: 1,
  })
  const keys = Array.from({ length: 60 }, (_, n) => key(n))
  const record = { v: 1, keys, pages: [0, 0], taken: [], open: [], early: [] } as unknown as RunRecord
  const look = { result: undefined }
  await store.change(a, () => ({ record, ...look }))
  await store.change(b, () => ({ record, ...look }))
  for (const run of [a, b, a, b]) await store.change(run, () => look)
  // Both do not fit, so that some are read again.
  expect(reads.length).toBeGreaterThan(2)
})
