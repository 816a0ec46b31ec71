import * as fc from 'fast-check'
import { expect, test } from 'vitest'
import { BufferPool } from './buffer-pool.ts'

const KIB = 1024

test('gives memory again, and ends the views of who had it', () => {
  const pool = new BufferPool()
  const first = pool.take(400_000)
  const view = Buffer.from(first, 0, 400_000)
  view.fill(7)
  pool.give(first)
  expect(view).toHaveLength(0)
  expect(pool.idleBytes).toBeGreaterThanOrEqual(400_000)
  const second = pool.take(400_100)
  expect(pool.idleBytes).toBe(0)
  expect(new Uint8Array(second)[0]).toBe(7)
})

test('takes back nothing twice, and nothing of others', () => {
  const pool = new BufferPool()
  const mine = pool.take(100 * KIB)
  pool.give(mine)
  const idle = pool.idleBytes
  pool.give(mine)
  const other = Buffer.alloc(100 * KIB, 1)
  pool.give(other.buffer)
  pool.give(new SharedArrayBuffer(100 * KIB))
  expect(pool.idleBytes).toBe(idle)
  expect(other[5]).toBe(1)
})

test('lets go of what was not needed for a while, and of nothing that was', () => {
  const pool = new BufferPool()
  const many = Array.from({ length: 10 }, () => pool.take(64 * KIB))
  for (const one of many) pool.give(one)
  pool.sweep()
  expect(pool.idleBytes).toBe(10 * 64 * KIB)
  for (let turn = 0; turn < 3; turn++) {
    const some = [pool.take(64 * KIB), pool.take(64 * KIB)]
    for (const one of some) pool.give(one)
  }
  pool.sweep()
  expect(pool.idleBytes).toBe(2 * 64 * KIB)
  pool.sweep()
  expect(pool.idleBytes).toBe(0)
})

test('has room for every size, at most an eighth too much, and never lends one buffer to two', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 5_000_000 }), { maxLength: 30 }), (sizes) => {
      const pool = new BufferPool()
      const lent = new Set<ArrayBuffer>()
      for (const [i, size] of sizes.entries()) {
        const buffer = pool.take(size)
        expect(buffer.byteLength).toBeGreaterThanOrEqual(size)
        expect(buffer.byteLength).toBeLessThanOrEqual(Math.ceil(size * 1.125))
        expect(lent.has(buffer)).toBe(false)
        lent.add(buffer)
        if (i % 3 === 0) pool.give(buffer)
      }
    }),
  )
})

test('keeps no more than some bytes, whatever sizes are given', () => {
  const pool = new BufferPool()
  for (let size = 1 << 20; size < 64 << 20; size *= 1.2) pool.give(pool.take(Math.floor(size)))
  expect(pool.idleBytes).toBeGreaterThan(64 << 20)
  expect(pool.idleBytes).toBeLessThanOrEqual(128 << 20)
})

test('keeps less where it is told to', () => {
  const pool = new BufferPool()
  pool.keepAtMost(1 << 20)
  const lent = Array.from({ length: 4 }, () => pool.take(512 * KIB))
  for (const one of lent) pool.give(one)
  expect(pool.idleBytes).toBe(1 << 20)
})
