import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, test } from 'vitest'
import { config } from '../../exporters/file/config.ts'
import { file } from '../../exporters/file/factory.ts'
import { exporterContext, testBatch } from '../../test/contract/exporter.ts'
import { give } from './sink.ts'

const fileMaker = await file.load()
const NEVER = new AbortController().signal

test('a second replay of the same is a second copy in a file; a run that goes on writes its chunk once', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'weir-replay-'))
  const path = join(folder, 'traces.jsonl')
  const exporter = fileMaker.create(config.parse({ path }), exporterContext('file'))
  await exporter.start?.()
  try {
    const lines = (): number => readFileSync(path, 'utf8').split('\n').length - 1
    const read = { spans: 2, duplicates: 0, refused: 0, damaged: 0, notes: [] }
    const chunk = { name: '1-1', from: 1, to: 1, next: { in: 'log', seq: 2 } as const, read }
    const replay = (run: string) => {
      const batches = [testBatch([{}, {}])]
      const given = { exporter, cursor: 'replay/traces/store/file', token: run, name: 'same' }
      return give({ ...given, chunk: { ...chunk, batches } }, false, NEVER)
    }
    expect(await replay('first')).toMatchObject({ added: 2 })
    await replay('first')
    expect(lines()).toBe(1)
    rmSync(path)
    expect(await replay('second')).toMatchObject({ added: 2 })
    expect(lines()).toBe(1)
  } finally {
    await exporter.stop?.(NEVER)
    rmSync(folder, { recursive: true })
  }
})
