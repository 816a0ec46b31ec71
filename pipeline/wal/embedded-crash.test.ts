import { statSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { message } from '../../test/contract/wal-driver.ts'
import { Child } from '../../test/support/wal-child.ts'
import type { WalDriver } from './driver.ts'
import { EmbeddedWal } from './embedded.ts'

const MAX_BYTES = 1024 ** 3

let directory: string
let wal: WalDriver
const children: Child<unknown>[] = []

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), 'weir-wal-'))
  wal = new EmbeddedWal({ directory, maxBytes: MAX_BYTES, durability: 'process', clock: Date.now })
  await wal.open()
})
afterEach(async () => {
  await Promise.all(children.splice(0).map((child) => child.kill()))
  await wal.close()
  await rm(directory, { recursive: true, force: true })
})

function child<Line>(what: 'append' | 'read' | 'pin', more: object = {}): Child<Line> {
  const started = new Child<Line>(what, { directory, maxBytes: MAX_BYTES, ...more })
  children.push(started)
  return started
}

/** Everything stored, as id → sequence, while it is checked that order and bytes are right. */
async function stored(): Promise<Map<string, number>> {
  const found = new Map<string, number>()
  const { lastSeq } = await wal.info()
  const port = wal.reader(0)
  for (let seq = 0; seq < lastSeq;) {
    for (const next of await port.next(1 << 22, AbortSignal.timeout(10_000))) {
      expect(next.seq).toBe(seq + 1)
      seq = next.seq
      const id = Buffer.from(next.bytes).toString().replace(/\.+$/, '')
      expect(found.has(id)).toBe(false)
      found.set(id, next.seq)
    }
  }
  await port.close()
  return found
}

it('has all that was acknowledged, once, after kill -9 of the writer, ten times', async () => {
  const acked: { id: string; seq: number }[] = []
  // Another process appends, too; it must outlive them all.
  const other = child<{ id: string; seq: number }>('append')
  await other.until((lines) => lines.length > 0)
  for (let round = 0; round < 10; round++) {
    const writer = child<{ id: string; seq: number }>('append')
    const enough = 20 + round * 40
    await writer.until((lines) => lines.length >= enough)
    await writer.kill()
    acked.push(...writer.lines)
  }
  const before = other.lines.length
  await other.until((lines) => lines.length > before)
  await other.kill()
  acked.push(...other.lines)
  const seqAfter = await wal.append(message('after'))
  const found = await stored()
  expect(acked.length).toBeGreaterThan(1000)
  for (const { id, seq } of acked) expect(found.get(id)).toBe(seq)
  expect(seqAfter).toBe(found.size)
})

it('is read by another process as it is written', async () => {
  const reader = child<{ seq: number } | 'ready'>('read')
  await reader.until((lines) => lines.includes('ready'))
  const seqs: number[] = []
  for (let at = 0; at < 20; at++) {
    seqs.push(await wal.append(message(`m${at}`)))
    await reader.until((lines) => lines.length === at + 2)
  }
  expect(reader.lines).toEqual(['ready', ...seqs.map((seq) => ({ seq }))])
})

it('keeps its file bounded when trimmed as fast as it is filled, although a reader was killed', async () => {
  const body = Buffer.alloc(200_000, 'x')
  const round = async (): Promise<number> => {
    const seqs = await Promise.all(Array.from({ length: 40 }, () => wal.append(message(body))))
    await wal.trim(Math.max(...seqs) - 20)
    return statSync(join(directory, 'data.mdb')).size
  }
  await round()
  const reader = child<'pinned'>('pin', {
    mapBytes: Math.ceil((MAX_BYTES * 1.5 + 1024 ** 3) / 65_536) * 65_536,
  })
  await reader.until((lines) => lines.includes('pinned'))
  const pinned: number[] = []
  for (let at = 0; at < 5; at++) pinned.push(await round())
  expect(pinned.at(-1)).toBeGreaterThan(pinned[0]! + 20_000_000) // the living reader does pin: the test can fail
  await reader.kill()
  const before = await round()
  for (let at = 0; at < 12; at++) await round()
  expect(await round()).toBeLessThanOrEqual(before + 10_000_000)
})
