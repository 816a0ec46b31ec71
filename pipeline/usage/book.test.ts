import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import pino from 'pino'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { EmbeddedState } from '../state/embedded.ts'
import { UsageBook } from './book.ts'
import { encodeUsage, usageKey, usagePrefix } from './record.ts'
import { dayOf, nextDayMs } from './usage.ts'

const NOON = Date.UTC(2026, 10, 21, 12)
let directory = ''
const ends: (() => Promise<void>)[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-usage-'))
})
afterEach(async () => {
  for (const end of ends.splice(0).reverse()) await end()
  await rm(directory, { recursive: true, force: true })
})

/** A process of a daemon: the store of its own, on the shared file. */
async function book(clock = () => NOON, flushMs = 5) {
  const state = new EmbeddedState(directory)
  await state.open()
  const usage = new UsageBook({ state, log: pino({ level: 'silent' }), clock, flushMs })
  ends.push(async () => {
    await usage.stop()
    await state.close()
  })
  return { usage, state }
}

it('adds up what several processes use, each seeing the others', async () => {
  const books = await Promise.all([book(), book(), book()])
  await Promise.all(books.map(({ usage }) => usage.follow()))
  for (let i = 0; i < 30; i++) {
    for (const { usage } of books) usage.add('acme', NOON, { spans: 2, picoUsd: 1n })
    if (i % 10 === 0) await new Promise((resolve) => setImmediate(resolve))
  }
  for (const { usage } of books) {
    await expect.poll(() => usage.of('acme', NOON)).toEqual({ spans: 180, picoUsd: 90n })
    expect(usage.of('other', NOON)).toEqual({ spans: 0, picoUsd: 0n })
    expect(usage.of('acme', nextDayMs(NOON))).toEqual({ spans: 0, picoUsd: 0n })
  }
})

it('counts what it added at once, and finds it again after a restart', async () => {
  const first = await book(() => NOON, 60_000)
  first.usage.add('acme', NOON, { spans: 7 })
  expect(first.usage.of('acme', NOON).spans).toBe(7)
  await first.usage.stop()
  const second = await book()
  await second.usage.follow()
  expect(second.usage.of('acme', NOON).spans).toBe(7)
})

it('counts a damaged record as nothing, and the others as before', async () => {
  const { usage, state } = await book()
  await usage.follow()
  const [damaged, whole] = [usageKey(dayOf(NOON), 'bmce', 0), usageKey(dayOf(NOON), 'acme', 0)]
  await state.put(damaged, Buffer.from('{'))
  await state.put(whole, encodeUsage({ spans: 5, picoUsd: 0n }))
  await expect.poll(() => usage.of('acme', NOON).spans).toBe(5)
  const { usage: later } = await book()
  await later.follow()
  expect([later.of('acme', NOON).spans, later.of('bmce', NOON).spans]).toEqual([5, 0])
})

it('forgets the days that are over', async () => {
  const clock = { ms: NOON }
  const { usage, state } = await book(() => clock.ms)
  usage.add('acme', clock.ms, { spans: 1 })
  await usage.flush()
  clock.ms += 10 * 24 * 3_600_000
  usage.add('acme', clock.ms, { spans: 1 })
  await usage.flush()
  const days = (await state.list(usagePrefix())).map(({ key }) => key.split('.')[1])
  expect(days).toEqual([dayOf(clock.ms)])
})
