import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { walDriverContract } from '../../test/contract/wal-driver.ts'
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
