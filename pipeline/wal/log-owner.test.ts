import { cp, mkdtemp, rename, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { EmbeddedState } from '../state/embedded.ts'
import { EmbeddedWal } from './embedded.ts'
import { claimLog, ownerOf, type LogOwner } from './log-owner.ts'

let home: string
const open = new Set<{ close(): Promise<void> }>()

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-owner-'))
})
afterEach(async () => {
  for (const one of open) await one.close()
  open.clear()
  await rm(home, { recursive: true, force: true })
})

async function stateIn(name: string): Promise<EmbeddedState> {
  const state = new EmbeddedState(join(home, name))
  await state.open()
  open.add(state)
  return state
}

async function log(): Promise<EmbeddedWal> {
  const wal = new EmbeddedWal({
    directory: join(home, 'wal'),
    maxBytes: 1 << 26,
    durability: 'process',
    clock: Date.now,
  })
  await wal.open()
  open.add(wal)
  return wal
}

async function close(one: { close(): Promise<void> }): Promise<void> {
  open.delete(one)
  await one.close()
}

/** With the state store in that directory, whether it is refused. */
async function claims(name: string): Promise<boolean> {
  const [wal, state] = [await log(), await stateIn(name)]
  try {
    await claimLog(wal, state)
    return true
  } catch (error) {
    expect(error).toMatchObject({ code: 'START_FAILED' })
    return false
  } finally {
    await close(wal)
    await close(state)
  }
}

it('is the first state store’s, for all its processes, and no other’s', async () => {
  // A log of before, with messages: nobody has claimed it.
  const wal = await log()
  await wal.append({ signal: 'traces', tenant: 'acme', id: '1', parts: [Buffer.from('x')] })
  expect([await claims('one'), await claims('one'), await claims('other'), await claims('one')]).toEqual([
    true,
    true,
    false,
    true,
  ])
})

it('is so wherever that state store is moved or restored to', async () => {
  expect(await claims('one')).toBe(true)
  await cp(join(home, 'one'), join(home, 'backup'), { recursive: true })
  await rename(join(home, 'one'), join(home, 'moved'))
  expect([await claims('moved'), await claims('one'), await claims('backup')]).toEqual([true, false, true])
})

it('says where the state store was last, and that another is there where it is so', async () => {
  await claims('one')
  await rename(join(home, 'one'), join(home, 'moved'))
  await claims('moved')
  const wal = await log()
  await expect(claimLog(wal, await stateIn('one'))).rejects.toThrow(
    `the state store in ${join(home, 'moved')}, and this is ${join(home, 'one')}`,
  )
  await rename(join(home, 'moved'), join(home, 'lost'))
  await expect(claimLog(wal, await stateIn('moved'))).rejects.toThrow(
    `the state store in ${join(home, 'moved')}, but another one is there now`,
  )
})

it('goes to one of two that claim it at once', async () => {
  const states = await Promise.all([stateIn('one'), stateIn('two')])
  const results = await Promise.allSettled(states.map(async (state) => claimLog(await log(), state)))
  expect(results.map(({ status }) => status).toSorted()).toEqual(['fulfilled', 'rejected'])
})

it('gives a state store one id, however many ask first', async () => {
  const states = await Promise.all([stateIn('one'), stateIn('one'), stateIn('one')])
  const owners = await Promise.all(states.map((state) => ownerOf(state)))
  expect(new Set(owners.map(({ id }: LogOwner) => id)).size).toBe(1)
})

it('is handed over when it is asked for, while nobody has it open', async () => {
  await claims('one')
  const [running, wal, two] = [await log(), await log(), await stateIn('two')]
  await expect(wal.claim(await ownerOf(two), true)).rejects.toMatchObject({ code: 'CONFLICT' })
  await close(wal)
  await close(running)
  await (await log()).claim(await ownerOf(two), true)
  expect([await claims('two'), await claims('one')]).toEqual([true, false])
})
