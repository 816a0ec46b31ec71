import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { timed } from '../../test/support/timed.ts'
import { Child } from '../../test/support/wal-child.ts'
import { EmbeddedState } from './embedded.ts'
import { acquireLease, type Lease } from './lease.ts'
import { stateKey } from './state.ts'

const NAME = 'traces/store/clickhouse'
const KEY = stateKey('lease', NAME)
/** Short for a test, and longer than a process waits for a busy processor or disk. */
const SHORT = { ttlMs: 1500 }

let directory: string
let one: EmbeddedState
let two: EmbeddedState
const held: Lease[] = []
const children: Child<unknown>[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-lease-'))
  one = new EmbeddedState(directory)
  two = new EmbeddedState(directory)
  await one.open()
  await two.open()
})
afterEach(async () => {
  await Promise.all(held.splice(0).map((lease) => lease.release()))
  await Promise.all(children.splice(0).map((child) => child.kill()))
  await one.close()
  await two.close()
  await rm(directory, { recursive: true, force: true })
})

async function got(store: EmbeddedState, holder: string, options: object = SHORT): Promise<Lease> {
  const lease = await acquireLease(store, NAME, holder, options)
  if (lease === undefined) throw new Error('not acquired')
  held.push(lease)
  return lease
}

const lost = (lease: Lease): Promise<unknown> =>
  new Promise((resolve) => {
    if (lease.lost.aborted) resolve(undefined)
    lease.lost.addEventListener('abort', resolve, { once: true })
  })

/** Waits until the holder has renewed so often. */
async function renewals(count: number): Promise<void> {
  let seen = 0
  for await (const _ of one.watch(stateKey('lease'), AbortSignal.timeout(60_000))) {
    if (++seen === count) return
  }
  throw new Error(`only ${seen} renewals`)
}

async function written(): Promise<Record<string, unknown>> {
  const entry = await one.get(KEY)
  return JSON.parse(Buffer.from(entry?.value ?? []).toString()) as Record<string, unknown>
}

describe('a lease', () => {
  it('is taken over at once by who comes under the name of one that has ended', async () => {
    const first = await got(one, 'daemon-1', { ttlMs: 600_000 })
    const waiting = await got(two, 'daemon-1', { ttlMs: 600_000, signal: AbortSignal.timeout(60_000) })
    expect(waiting.fence).toBe(first.fence + 1)
  })

  it('is held by one, for as long as he renews it, whatever the others’ clocks say', async () => {
    const lease = await got(one, 'a', { ...SHORT, clock: () => performance.now() - 3_600_000 })
    const waiting = got(two, 'b', { ...SHORT, clock: () => performance.now() + 86_400_000 })
    const first = await Promise.race([
      waiting.then(() => 'the second'),
      renewals(10).then(() => 'ten renewals'),
    ])
    expect(first).toBe('ten renewals')
    expect(lease.lost.aborted).toBe(false)
    expect(Object.keys(await written()).sort()).toEqual(['beat', 'fence', 'holder', 'v']) // no time of anyone's
    await lease.release()
    const second = await waiting
    expect(second.fence).toBe(lease.fence + 1)
    expect(lease.lost.aborted).toBe(true)
  })

  it('is won by one of many at once', async () => {
    const end = new AbortController()
    const asked = Array.from({ length: 8 }, (_, at) =>
      acquireLease(at % 2 ? one : two, NAME, `h${at}`, { ...SHORT, signal: end.signal }),
    )
    held.push((await Promise.race(asked))!)
    await renewals(6)
    end.abort()
    const won = (await Promise.all(asked)).filter((lease) => lease !== undefined)
    expect(won).toHaveLength(1)
  })

  it('is lost when another has taken it over', async () => {
    const lease = await got(one, 'a')
    await two.put(KEY, Buffer.from(JSON.stringify({ v: 1, holder: 'b', fence: 9, beat: 0 })))
    await lost(lease)
    expect((await got(two, 'c')).fence).toBe(10)
  })

  it('is lost when the store does not answer, before another may have it', async () => {
    const lease = await got(one, 'a')
    const began = performance.now()
    await one.close()
    await lost(lease)
    const next = await got(two, 'b')
    expect(next.fence).toBe(lease.fence + 1)
    expect(performance.now() - began).toBeGreaterThanOrEqual(SHORT.ttlMs)
  })

  it('passes on within 10 s when its holder is killed, with the default ttl and skewed clocks', async () => {
    const child = new Child<{ fence: number }>('lease', { directory, name: NAME, skewMs: 7_200_000 })
    children.push(child)
    await child.until((lines) => lines.length === 1)
    const waiting = acquireLease(two, NAME, 'survivor')
    await renewals(2)
    await child.kill()
    const { ms, lateMs } = await timed(() => waiting)
    const won = await waiting
    expect(won).toMatchObject({ fence: 2 })
    if (won !== undefined) held.push(won)
    expect(ms).toBeLessThan(10_000 + lateMs)
  })

  it('gives up waiting when told to', async () => {
    await got(one, 'a')
    expect(await acquireLease(two, NAME, 'b', { ...SHORT, signal: AbortSignal.timeout(100) })).toBeUndefined()
  })
})
