import { appendFile, mkdtemp, open, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { expect, it, onTestFinished } from 'vitest'
import { GzipReader } from './gzip-reader.ts'

const CONTENT = Buffer.from(Array.from({ length: 400_000 }, (_, n) => `${n}\n`).join(''))

async function reader(content = CONTENT) {
  const directory = await mkdtemp(join(tmpdir(), 'weir-gzip-'))
  const file = join(directory, 'a.gz')
  await writeFile(file, gzipSync(content))
  const handle = await open(file)
  let beginnings = 0
  let ends = 0
  const counted = new Proxy(handle, {
    get(target, name) {
      if (name !== 'read') {
        const value: unknown = Reflect.get(target, name)
        return typeof value === 'function' ? (value.bind(target) as unknown) : value
      }
      return async (into: Buffer, offset: number, length: number, position: number) => {
        if (position === 0) beginnings++
        const result = await target.read(into, offset, length, position)
        if (result.bytesRead === 0) ends++
        return result
      }
    },
  })
  const gzip = new GzipReader(counted)
  onTestFinished(async () => {
    await gzip.close()
    await rm(directory, { recursive: true, force: true })
  })
  return { gzip, file, beginnings: () => beginnings, ends: () => ends }
}

it('goes back to the beginning of a line without inflating all before it again', async () => {
  const { gzip, beginnings } = await reader()
  const into = Buffer.alloc(100_000)
  const parts: Buffer[] = []
  let at = 0
  for (let read = await gzip.read(at, into); read > 0; read = await gzip.read(at, into)) {
    const end = into.subarray(0, read).lastIndexOf(0x0a) + 1
    parts.push(Buffer.from(into.subarray(0, end)))
    at += end
  }
  expect(Buffer.concat(parts).equals(CONTENT)).toBe(true)
  expect(beginnings()).toBe(1)
})

it('reads from any position, in any order', async () => {
  const { gzip } = await reader()
  const into = Buffer.alloc(70_000)
  for (const position of [500_000, 430_000, 499_990, 0, 69_000, 2_000_000, 1_999_999, 66_000, 3_000_000]) {
    const read = await gzip.read(position, into)
    expect(into.subarray(0, read).equals(CONTENT.subarray(position, position + into.length))).toBe(true)
  }
})

it('reads what was appended before it gave the last of what it had', async () => {
  const { gzip, file, ends } = await reader(Buffer.from('one\ntwo'))
  const into = Buffer.alloc(100)
  expect(await gzip.read(0, into.subarray(0, 4))).toBe(4)
  await expect.poll(ends).toBe(1)
  await appendFile(file, gzipSync('2\n'))
  const read = await gzip.read(4, into)
  expect(into.toString('utf8', 0, read)).toBe('two2\n')
})
