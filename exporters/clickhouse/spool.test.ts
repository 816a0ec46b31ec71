import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { Spool } from './spool.ts'

let directory: string
let spool: Spool

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'weir-spool-'))
  spool = await Spool.open(directory)
})

afterEach(async () => {
  vi.useRealTimers()
  await spool.remove()
  rmSync(directory, { recursive: true, force: true })
})

const bytes = (length: number, fill: number) => [Buffer.alloc(length, fill), Buffer.from('end')]

test('a file that was read is written over, and holds the new block exactly, be it larger or smaller', async () => {
  const first = spool.write(bytes(100_000, 1))
  await spool.release(first)
  for (const [length, fill] of [
    [10, 2],
    [300_000, 3],
    [0, 4],
  ] as const) {
    const next = spool.write(bytes(length, fill))
    expect(next.path).toBe(first.path)
    expect(readFileSync(next.path).equals(Buffer.concat(bytes(length, fill)))).toBe(true)
    await spool.release(next)
  }
})

test('a file that may still be read is not', async () => {
  const first = spool.write(bytes(100, 1))
  const second = spool.write(bytes(100, 2))
  expect(second.path).not.toBe(first.path)
  await spool.discard(first)
  expect(existsSync(first.path)).toBe(false)
  const third = spool.write(bytes(100, 3))
  expect([first.path, second.path]).not.toContain(third.path)
  expect(readFileSync(second.path).equals(Buffer.concat(bytes(100, 2)))).toBe(true)
})

test('one file is kept, and none for long', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] })
  const [one, two] = [spool.write(bytes(100, 1)), spool.write(bytes(100, 2))]
  await spool.release(one)
  await spool.release(two)
  expect([one, two].map(({ path }) => existsSync(path))).toEqual([true, false])
  vi.advanceTimersByTime(60_000)
  vi.useRealTimers()
  await expect.poll(() => existsSync(one.path)).toBe(false)
})

test('more parts than one system call takes', () => {
  const parts = Array.from({ length: 2500 }, (_, i) => Buffer.from(`${i},`))
  const { path, size } = spool.write(parts)
  expect(readFileSync(path).equals(Buffer.concat(parts))).toBe(true)
  expect(size).toBe(Buffer.concat(parts).length)
})
