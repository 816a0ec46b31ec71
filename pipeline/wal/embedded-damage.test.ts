import { spawnSync } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync, truncateSync, writeFileSync, writeSync } from 'node:fs'
import { mkdir, mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { open } from 'lmdb'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { fill, message, take } from '../../test/contract/wal-driver.ts'
import { EmbeddedWal } from './embedded.ts'
import { encodeEnvelope } from './envelope.ts'
import { lookbackOf } from './lookback.ts'

const MIB = 1024 * 1024

let directory: string
let file: string

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
  file = join(directory, 'data.mdb')
})
afterEach(() => rm(directory, { recursive: true, force: true }))

function make(where = directory): EmbeddedWal {
  return new EmbeddedWal({ directory: where, maxBytes: 64 * MIB, durability: 'strict', clock: Date.now })
}

async function filled(bodies: readonly string[]): Promise<void> {
  const wal = make()
  await wal.open()
  for (const body of bodies) await wal.append(message(body))
  await wal.close()
}

it('names a truncated file and the remedy', async () => {
  await filled(Array.from({ length: 40 }, () => 'x'.repeat(100_000)))
  truncateSync(file, statSync(file).size >> 1)
  await expect(make().open()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringMatching(/data\.mdb is truncated: .* move the directory aside/) as string,
  })
})

it('names a file that is not LMDB', async () => {
  writeFileSync(file, Buffer.alloc(100_000, 'no database '))
  await expect(make().open()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringMatching(/data\.mdb is damaged/) as string,
  })
})

it('names a directory that cannot be made', async () => {
  writeFileSync(join(directory, 'file'), '')
  await expect(make(join(directory, 'file', 'wal')).open()).rejects.toMatchObject({
    code: 'START_FAILED',
    message: expect.stringContaining(join(directory, 'file', 'wal')) as string,
  })
})

it('refuses a layout of a newer version', async () => {
  await filled(['a'])
  const env = open<Buffer, string>({
    path: directory,
    noSubdir: false,
    encoding: 'binary',
    overlappingSync: false,
  })
  const heads = env.openDB<Buffer, string>({ name: 'heads', encoding: 'binary', useVersions: true })
  const newer = Buffer.alloc(8)
  newer.writeDoubleLE(99)
  await heads.put('format', newer, 1)
  await env.close()
  await expect(make().open()).rejects.toMatchObject({ code: 'STATE_VERSION', verdict: { do: 'reject' } })
})

it('reports a message that fails its checksum once, and reads on behind it', async () => {
  await filled(['first', `second ${'y'.repeat(50_000)}`, 'third'])
  const at = readFileSync(file).indexOf('second yyyy')
  const fd = openSync(file, 'r+')
  writeSync(fd, 'SECOND', at)
  closeSync(fd)
  const wal = make()
  await wal.open()
  const port = wal.reader(0)
  expect((await take(port, 1)).map(({ seq }) => seq)).toEqual([1])
  const signal = AbortSignal.timeout(10_000)
  await expect(port.next(MIB, signal)).rejects.toMatchObject({
    code: 'WAL_CORRUPT',
    message: expect.stringContaining('WAL message 2') as string,
  })
  expect((await take(port, 1)).map(({ seq }) => seq)).toEqual([3])
  await wal.close()
})

it('finds what is stored behind damaged messages', async () => {
  const digest = Buffer.alloc(16, 7)
  const names = { principal: '', project: '', source: 's', receivedAtMs: 1 }
  const member = { digest, part: 0, firstRow: 0, last: true, spans: 2, bytes: Buffer.from('otlp'), ...names }
  await filled(['no envelope', `second ${'y'.repeat(50_000)}`])
  const fd = openSync(file, 'r+')
  writeSync(fd, 'SECOND', readFileSync(file).indexOf('second yyyy'))
  closeSync(fd)
  const wal = make()
  await wal.open()
  await wal.append({ ...message('', 'acme'), parts: encodeEnvelope([member]) })
  const found = await lookbackOf(wal).stored('acme', digest, '', AbortSignal.timeout(10_000))
  expect(found).toEqual([{ first: 0, end: 2, last: true }])
  await wal.close()
})

it('refuses retryably on a full disk, loses nothing, and goes on when there is room', async (ctx) => {
  const mount = join(directory, 'small')
  await mkdir(mount)
  if (spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=8m', 'tmpfs', mount]).status !== 0) {
    ctx.skip('a full disk is made by mounting a small tmpfs, which needs root')
  }
  try {
    writeFileSync(join(mount, 'other'), Buffer.alloc(3 * MIB))
    const wal = make(mount)
    await wal.open()
    const acked: number[] = []
    const body = Buffer.alloc(200_000, 'x')
    const refusal = await fill(wal, body, acked)
    expect(refusal).toMatchObject({ code: 'WAL_FULL', verdict: { do: 'retry' } })
    expect((await take(wal.reader(0), acked.length)).map(({ seq }) => seq)).toEqual(acked)
    await rm(join(mount, 'other'))
    acked.push(await wal.append(message(body)), await wal.append(message(body)))
    await wal.trim(acked[0]!)
    await wal.close()
    await wal.open()
    expect((await take(wal.reader(0), acked.length - 1)).map(({ seq }) => seq)).toEqual(acked.slice(1))
    await wal.close()
  } finally {
    spawnSync('umount', [mount])
  }
})
