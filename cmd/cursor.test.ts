import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { EmbeddedState } from '../pipeline/state/embedded.ts'
import { listCursors, registerCursor } from '../pipeline/wal/cursor-store.ts'
import { EmbeddedWal } from '../pipeline/wal/embedded.ts'
import { claimLog } from '../pipeline/wal/log-owner.ts'
import { weir } from '../test/support/weir-cli.ts'

let home: string
let config: string

beforeEach(async () => {
  home = await mkdtemp(join(tmpdir(), 'weir-cursor-cli-'))
  config = join(home, 'weir.yaml')
  await writeFile(
    config,
    `receivers: { otlp: { protocols: { grpc: {} } } }
connectors: { wal: { driver: embedded, directory: ${home}/wal } }
exporters: { stdout: {}, stdout/b: {} }
extensions: { state: { directory: ${home}/state } }
service:
  extensions: [state]
  pipelines:
    traces/in: { receivers: [otlp], exporters: [wal] }
    traces/store: { receivers: [wal], exporters: [stdout, stdout/b] }
`,
  )
})
afterEach(() => rm(home, { recursive: true }))

/** The log and a state store of this name, open for as long as the work takes. */
async function during<T>(
  name: string,
  work: (wal: EmbeddedWal, state: EmbeddedState) => Promise<T>,
): Promise<T> {
  const directory = join(home, 'wal')
  const wal = new EmbeddedWal({ directory, maxBytes: 1 << 26, durability: 'process', clock: Date.now })
  const state = new EmbeddedState(join(home, name))
  await wal.open()
  await state.open()
  try {
    return await work(wal, state)
  } finally {
    await wal.close()
    await state.close()
  }
}

it('gives the log of a lost state store to the new one, with places for its exporters', async () => {
  await during('lost', async (wal, state) => {
    await claimLog(wal, state)
    for (const id of ['1', '2', '3']) {
      await wal.append({ signal: 'traces', tenant: 'acme', id, parts: [Buffer.from(id)] })
    }
    await wal.trim(1)
    const busy = await weir('cursor', 'adopt', '--config', config, '--from', 'latest')
    expect(busy).toMatchObject({ code: 1, err: expect.stringContaining('stop every weir') })
  })
  await during('state', async (wal, state) => {
    await expect(claimLog(wal, state)).rejects.toMatchObject({ code: 'START_FAILED' })
    await registerCursor(state, 'wal', 'traces/store/stdout', 3, 0)
  })
  const adopted = await weir('cursor', 'adopt', '--config', config, '--from', 'earliest', '--json')
  expect(adopted.code).toBe(0)
  const last = 3
  expect(JSON.parse(adopted.out)).toEqual({
    cursors: [
      { cursor: 'traces/store/stdout', connector: 'wal', position: 3, last },
      { cursor: 'traces/store/stdout/b', connector: 'wal', position: 2, last },
    ],
  })
  await during('state', async (wal, state) => {
    await claimLog(wal, state)
    const cursors = await listCursors(state, 'wal')
    expect(cursors.map(({ record }) => record.position)).toEqual([3, 2])
  })
})

it('wants to be told where exporters begin, and takes no config otherwise', async () => {
  expect(await weir('cursor', 'adopt', '--config', config)).toMatchObject({
    code: 2,
    err: expect.stringContaining('--from earliest|latest'),
  })
  expect(await weir('cursor', 'ls', '--config', config)).toMatchObject({ code: 2 })
})
