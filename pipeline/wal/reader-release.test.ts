import { describe, expect, it } from 'vitest'
import { member, setup } from '../../test/contract/reader-world.ts'
import { until } from '../../test/contract/until.ts'
import type { ChainOptions } from '../../test/contract/wal-world.ts'
import { POOL } from '../../proto/buffer-pool.ts'
import type { Batch } from '../batch/batch.ts'
import { factsOf } from '../genai/facts-of.ts'

/** Enough spans for tables and facts of the pool. */
const NAMES = Array.from({ length: 600 }, (_, at) => `ok${at}`)

/** A reader that remembers every batch it prepared. */
async function remembering(
  failures: number,
  chain: Pick<ChainOptions, 'keepsNothing'> = { keepsNothing: true },
) {
  const world = await setup()
  const batches: Batch[] = []
  for (let left = failures; left > 0; left--) world.store.plan.push('retry')
  await world.append([member(NAMES)])
  world.start({
    ...chain,
    batching: { maxSpans: 1000, maxBytes: 1e6, maxWaitMs: 0 },
    process: (batch) => {
      factsOf(batch)
      batches.push(batch)
    },
  })
  await until(async () => (await world.record()).position === 2)
  return { ...world, batches }
}

describe('memory of a delivered range', () => {
  it('is given back once the cursor has passed it, and reads as empty from then on', async () => {
    const { batches, store } = await remembering(0)
    await until(() => POOL.idleBytes > 0)
    expect(store.rows).toHaveLength(NAMES.length)
    expect(batches).toHaveLength(1)
    expect(batches[0]?.name(5)).toBe('')
    expect(batches[0]?.facts?.tokens).toHaveLength(0)
  })

  it('stays with an exporter that may still read it, such as one whose socket writes after the answer', async () => {
    const { batches, append, record } = await remembering(0, {})
    await append([member(['ok'])])
    await until(async () => (await record()).position === 3)
    expect(batches[0]?.name(5)).toBe('ok5')
  })

  it('stays where a try was given up: whoever began it may still read', async () => {
    const before = POOL.idleBytes
    const { batches, append, record, store } = await remembering(1)
    // The next range is read behind the release of the one before.
    await append([member(['ok'])])
    await until(async () => (await record()).position === 3)
    expect(store.deliveries.map(({ attempt }) => attempt)).toEqual([0, 1, 0])
    expect(batches[0]?.name(5)).toBe('ok5')
    expect(batches[0]?.facts?.tokens).not.toHaveLength(0)
    expect(POOL.idleBytes).toBeLessThanOrEqual(before)
  })
})
