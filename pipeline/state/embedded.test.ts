import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { stateContract } from '../../test/contract/state.ts'
import { EmbeddedState } from './embedded.ts'

stateContract('embedded state', async () => {
  const directory = await mkdtemp(join(tmpdir(), 'weir-state-'))
  const opened: EmbeddedState[] = []
  return {
    async open() {
      const store = new EmbeddedState(directory)
      await store.open()
      opened.push(store)
      return store
    },
    async dispose() {
      await Promise.all(opened.map((store) => store.close()))
      await rm(directory, { recursive: true, force: true })
    },
  }
})
