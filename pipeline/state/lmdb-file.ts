import { closeSync, existsSync, ftruncateSync, openSync, readSync, statSync } from 'node:fs'
import { reject } from '../fault.ts'

/**
 * What LMDB does not check before it maps the file: reading a page past the end of a truncated file kills the process
 * with SIGBUS. So the header is read here first, while nobody else writes (`openShared`).
 *
 * Meta page (64-bit, lmdb-js data version 2), little-endian, pages 0 and 1:
 *   24 magic u32 · 28 version u32 · 48 page size u32 · 144 last page u64 · 152 transaction u64
 */
const MAGIC = 0xbeefc0de
const DATA_VERSION = 2
const META_BYTES = 160

/** LMDB may leave the last few free pages unwritten ("the file may be shorter if the freeDB lists the final pages"). */
const UNWRITTEN_SLACK = 1 << 20

/** Throws START_FAILED when `file` exists and is not a whole LMDB file. */
export function checkLmdbFile(file: string, remedy: string): void {
  if (!existsSync(file)) return
  const size = statSync(file).size
  if (size === 0) return
  const expected = expectedBytes(file, size)
  if (expected === undefined) {
    throw reject('START_FAILED', `${file} is damaged: it does not start as an LMDB file. ${remedy}`)
  }
  if (size + UNWRITTEN_SLACK < expected) {
    throw reject(
      'START_FAILED',
      `${file} is truncated: it has ${size} bytes where its header says ${expected}. ${remedy}`,
    )
  }
  if (size < expected) extend(file, expected)
}

function expectedBytes(file: string, size: number): number | undefined {
  const fd = openSync(file, 'r')
  try {
    const head = Buffer.alloc(META_BYTES)
    if (readSync(fd, head, 0, META_BYTES, 0) < META_BYTES || !isMeta(head)) return undefined
    const pageSize = head.readUInt32LE(48)
    if (pageSize < 512 || pageSize > 65_536 || size < 2 * pageSize) return undefined
    const second = Buffer.alloc(META_BYTES)
    readSync(fd, second, 0, META_BYTES, pageSize)
    if (!isMeta(second)) return undefined
    const latest = head.readBigUInt64LE(152) >= second.readBigUInt64LE(152) ? head : second
    return (Number(latest.readBigUInt64LE(144)) + 1) * pageSize
  } finally {
    closeSync(fd)
  }
}

function isMeta(page: Buffer): boolean {
  return page.readUInt32LE(24) === MAGIC && page.readUInt32LE(28) === DATA_VERSION
}

function extend(file: string, bytes: number): void {
  const fd = openSync(file, 'r+')
  try {
    ftruncateSync(fd, bytes)
  } finally {
    closeSync(fd)
  }
}
