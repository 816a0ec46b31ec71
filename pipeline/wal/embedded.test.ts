import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { expect, it } from 'vitest'
import { message, take, walDriverContract } from '../../test/contract/wal-driver.ts'
import { EmbeddedWal } from './embedded.ts'

walDriverContract('embedded WAL', async ({ maxBytes }) => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
  const opened: EmbeddedWal[] = []
  return {
    async open() {
      const wal = new EmbeddedWal({ directory, maxBytes, durability: 'process', clock: Date.now })
      await wal.open()
      opened.push(wal)
      return wal
    },
    async dispose() {
      await Promise.all(opened.map((wal) => wal.close()))
      await rm(directory, { recursive: true, force: true })
    },
  }
})

it.each([4096, 8192])(
  'counts what messages take in a file of %i-byte pages, and goes on with it',
  async (pageSize) => {
    const directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
    const make = (): EmbeddedWal =>
      new EmbeddedWal({ directory, maxBytes: 64 * 1024 ** 2, durability: 'process', clock: Date.now })
    try {
      // 4096: as logs were before pages of 8 KiB.
      await open({ path: directory, noSubdir: false, overlappingSync: false, pageSize }).close()
      const wal = make()
      await wal.open()
      const small = 'a'.repeat(3000)
      for (let at = 0; at < 100; at++) await wal.append(message(`${at}`.padEnd(pageSize * 4, 'x')))
      await wal.append(message(small))
      const { bytes } = await wal.info()
      const taken = statSync(join(directory, 'data.mdb')).size
      expect(bytes).toBeLessThanOrEqual(taken)
      // With the pages of the trees, which each commit writes anew.
      expect(taken - bytes).toBeLessThan(40 * pageSize)
      await wal.close()
      const again = make()
      await again.open()
      expect(await again.info()).toMatchObject({ bytes, messages: 101 })
      const found = await take(again.reader(1), 101)
      expect(found.map((each) => each.bytes.length)).toEqual([...Array<number>(100).fill(pageSize * 4), 3000])
      await again.close()
    } finally {
      await rm(directory, { recursive: true, force: true })
    }
  },
)

it('refuses what it cannot make room for, retryably, when the file is damaged, and goes on', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
  const wal = new EmbeddedWal({ directory, maxBytes: 1024 ** 2, durability: 'process', clock: Date.now })
  try {
    await wal.open()
    const file = open({ path: directory, noSubdir: false, overlappingSync: false })
    const heads = file.openDB({ name: 'heads', encoding: 'binary', useVersions: true })
    const tail = heads.get('tail') as Buffer
    await heads.remove('tail')
    const refused = { code: 'WAL_UNAVAILABLE', message: 'the WAL has lost its tail record' }
    for (let at = 0; at < 2; at++) await expect(wal.append(message(`${at}`))).rejects.toMatchObject(refused)
    await heads.put('tail', tail, 1)
    // Reads see what another has put right from the next snapshot on.
    await expect.poll(() => wal.append(message('again')).catch(() => undefined)).toBe(1)
  } finally {
    await wal.close()
    await rm(directory, { recursive: true, force: true })
  }
})
