import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import type { QueryRequest } from '../component.ts'
import { createLogger } from '../telemetry/logger.ts'
import { createMeter } from '../telemetry/prom-meter.ts'
import { forkStore } from './forked.ts'
import { StoreProcess, type StoreProcessOptions } from './store-process.ts'

const child = fileURLToPath(new URL('../../test/support/store-child.mjs', import.meta.url))
const lines: string[] = []
const log = createLogger({
  level: 'info',
  encoding: 'json',
  resource: {},
  destination: { write: (line: string) => void lines.push(line) },
})

const running: StoreProcess[] = []
afterEach(async () => {
  lines.length = 0
  for (const each of running.splice(0)) await each.stop(AbortSignal.timeout(2000), 2000)
})

function supervise(more: Partial<StoreProcessOptions> = {}): StoreProcess {
  const store = new StoreProcess(child, { log, meter: createMeter(), ...more })
  running.push(store)
  return store
}

const ask = (store: StoreProcess, sql: string): Promise<unknown> =>
  store.query({ sql, params: {}, maxRows: 1, maxBytes: 1, timeoutMs: 500 } satisfies QueryRequest)

const pidNow = (store: StoreProcess): Promise<unknown> => ask(store, 'pid').catch(() => undefined)

it('restarts a child that died, and says that it is down meanwhile', async () => {
  const store = supervise()
  await store.start({})
  const first = await pidNow(store)
  await expect(ask(store, 'die')).rejects.toMatchObject({ verdict: { do: 'retry' } })
  await expect.poll(async () => (await store.health()).degraded).toEqual([expect.stringContaining('SIGKILL')])
  await expect.poll(() => pidNow(store)).toEqual(expect.any(Number))
  expect(await pidNow(store)).not.toBe(first)
})

it('kills a child that does not answer', async () => {
  const store = supervise({ watchMs: 50, hangMs: 200 })
  await store.start({})
  const first = await pidNow(store)
  await expect(ask(store, 'hang')).rejects.toThrow('the store process')
  await expect.poll(() => pidNow(store)).toEqual(expect.any(Number))
  expect(await pidNow(store)).not.toBe(first)
  expect(lines.join()).toContain('does not answer and is killed')
})

it('names why the first child could not start, and starts none after it', async () => {
  await expect(supervise().start({ refuse: 'the WAL is corrupt' })).rejects.toThrow('the WAL is corrupt')
  await expect(supervise().start({ start: 'exit' })).rejects.toThrow('ended (code 3) before it was ready')
  expect(lines).toEqual([])
})

it('begins with a child that was forked ahead, and forks the next one itself', async () => {
  const ahead = forkStore(child)
  const store = supervise({ ahead })
  await store.start({})
  expect(await pidNow(store)).toBe(ahead.process.pid)
  await expect(ask(store, 'die')).rejects.toMatchObject({ verdict: { do: 'retry' } })
  await expect.poll(() => pidNow(store)).toEqual(expect.any(Number))
  expect(await pidNow(store)).not.toBe(ahead.process.pid)
})

it('ends a child that was forked ahead and never started, and names one that died before', async () => {
  const unused = forkStore(child)
  await supervise({ ahead: unused }).stop(AbortSignal.timeout(2000), 2000)
  expect(await unused.ended).toContain('SIGKILL')
  await expect(supervise({ ahead: unused }).start({})).rejects.toThrow('(SIGKILL) before it was ready')
})

it('reloads a child that runs, starts one where there was none, and ends one that is not wanted', async () => {
  const store = supervise()
  expect(await store.reload(undefined)).toEqual([])
  expect(await store.reload({})).toEqual(['process:store'])
  expect(await store.reload({ more: true })).toEqual(['x'])
  expect(await store.reload(undefined)).toEqual(['process:store'])
  await expect(ask(store, 'pid')).rejects.toMatchObject({ verdict: { do: 'retry' } })
})

it('takes a new config while the child is down, and keeps the old one when that does not start', async () => {
  const store = supervise()
  await store.start({})
  await expect(ask(store, 'die')).rejects.toThrow('not running')
  await expect.poll(async () => (await store.health()).degraded.length).toBe(1)
  await expect(store.reload({ refuse: 'bad' })).rejects.toThrow('bad')
  await expect.poll(() => pidNow(store)).toEqual(expect.any(Number))
})

it('stops while a child starts', async () => {
  const store = supervise()
  const started = store.start({})
  started.catch(() => undefined)
  await store.stop(AbortSignal.timeout(2000), 2000)
  await expect(started).rejects.toThrow()
})
