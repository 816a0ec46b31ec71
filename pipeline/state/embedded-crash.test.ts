import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { Child } from '../../test/support/wal-child.ts'
import { EmbeddedState } from './embedded.ts'
import { stateKey } from './state.ts'

let directory: string
let store: EmbeddedState
const children: Child<{ at: number }>[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-state-'))
  store = new EmbeddedState(directory)
  await store.open()
})
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()))
  await store.close()
  await rm(directory, { recursive: true, force: true })
})

it('has what another process has written before it was killed, and tells its watchers', async () => {
  const end = new AbortController()
  const last = new Map<string, number>()
  let tell: (() => void) | undefined
  const watching = (async () => {
    for await (const { key, value } of store.watch(stateKey('child'), end.signal)) {
      last.set(key, Number(Buffer.from(value ?? []).toString()))
      tell?.()
    }
  })()
  for (let round = 0; round < 4; round++) {
    const child = new Child<{ at: number }>('put', { directory })
    children.push(child)
    await child.until((lines) => lines.length > 50)
    await child.kill()
    const said = child.lines.at(-1)!.at
    for (const { at } of child.lines.slice(-4)) {
      const key = stateKey('child', `k${at % 5}`)
      const value = Number(Buffer.from((await store.get(key))?.value ?? []).toString())
      expect(value).toBeGreaterThanOrEqual(at)
      while ((last.get(key) ?? 0) < value) await new Promise<void>((resolve) => (tell = resolve))
    }
    expect(await store.put(stateKey('mine'), Buffer.from('still writable'))).toBeGreaterThan(said)
  }
  end.abort()
  await watching
})

it('refuses a layout of a newer version, and a damaged file', async () => {
  await store.close()
  const env = open<Buffer, string>({
    path: directory,
    noSubdir: false,
    encoding: 'binary',
    overlappingSync: false,
  })
  const meta = env.openDB<Buffer, string>({ name: 'meta', encoding: 'binary', useVersions: true })
  await meta.put('format', Buffer.from([99]), 1)
  await env.close()
  await expect(store.open()).rejects.toMatchObject({ code: 'STATE_VERSION', verdict: { do: 'reject' } })
  await writeFile(join(directory, 'data.mdb'), 'not a database')
  await expect(new EmbeddedState(directory).open()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining('data.mdb') as string,
  })
})
