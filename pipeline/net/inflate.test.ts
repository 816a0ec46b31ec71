import * as zlib from 'node:zlib'
import { deflateSync, gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { Fault } from '../fault.ts'
import { encodingOf, inflate } from './inflate.ts'

const { zstdCompressSync: zstd, constants } = zlib as unknown as {
  zstdCompressSync?: (plain: Buffer, options: { params: Record<number, number> }) => Buffer
  constants: { ZSTD_c_windowLog?: number }
}
const small = Buffer.from('a body')
const large = Buffer.from(Array.from({ length: 300_000 }, (_, n) => (n * 2_654_435_761) >>> 24))

describe('inflate', () => {
  it.each([
    ['small', small],
    ['large', large],
  ])('inflates %s gzip and deflate and tells their size', async (_, plain) => {
    for (const [encoding, bytes] of [
      ['gzip', gzipSync(plain)],
      ['deflate', deflateSync(plain)],
    ] as const) {
      let grown = 0
      const inflated = await inflate(bytes, encoding, plain.length, (bytes) => (grown += bytes))
      expect(Buffer.compare(inflated, plain)).toBe(0)
      expect(grown).toBe(plain.length)
    }
  })

  it('reads gzip of several members', async () => {
    const bytes = Buffer.concat([gzipSync(small), gzipSync(small)])
    expect(String(await inflate(bytes, 'gzip', 100, () => {}))).toBe('a bodya body')
  })

  it.each([
    ['small', gzipSync(Buffer.alloc(100_000))],
    ['large', gzipSync(Buffer.alloc(100_000_000))],
  ])('stops a %s bomb at the limit', async (_, bomb) => {
    let grown = 0
    await expect(inflate(bomb, 'gzip', 99_999, (bytes) => (grown += bytes))).rejects.toMatchObject({
      code: 'BATCH_TOO_LARGE',
    })
    expect(grown).toBeLessThanOrEqual(99_999)
  })

  it('stops where the caller says so', async () => {
    const refusal = new Fault('OVERLOADED', 'enough', { do: 'retry' })
    const grow = () => {
      throw refusal
    }
    await expect(inflate(gzipSync(large), 'gzip', 1e9, grow)).rejects.toBe(refusal)
    await expect(inflate(gzipSync(small), 'gzip', 1e9, grow)).rejects.toBe(refusal)
  })

  it.each([
    ['truncated', gzipSync(small).subarray(0, -3)],
    ['large truncated', gzipSync(large).subarray(0, -3)],
    ['empty', Buffer.alloc(0)],
    ['foreign', Buffer.from('plain text')],
  ])('says BATCH_MALFORMED to %s gzip', async (_, bytes) => {
    await expect(inflate(bytes, 'gzip', 1e9, () => {})).rejects.toMatchObject({ code: 'BATCH_MALFORMED' })
  })

  it.skipIf(!zstd)(
    'inflates zstd under the same limit and no larger window than 8 MiB (needs Node 22.15)',
    async () => {
      const compress = (plain: Buffer, windowLog: number) =>
        zstd?.(plain, { params: { [constants.ZSTD_c_windowLog ?? 0]: windowLog } }) ?? plain
      expect(Buffer.compare(await inflate(compress(large, 20), 'zstd', 1e9, () => {}), large)).toBe(0)
      const bomb = compress(Buffer.alloc(20_000_000), 20)
      await expect(inflate(bomb, 'zstd', 99_999, () => {})).rejects.toMatchObject({ code: 'BATCH_TOO_LARGE' })
      const wide = compress(Buffer.alloc(20_000_000, 'ab'), 24)
      await expect(inflate(wide, 'zstd', 1e9, () => {})).rejects.toMatchObject({ code: 'BATCH_MALFORMED' })
    },
  )

  it('knows encodings by their names, in any case', () => {
    expect(['', 'identity', 'GZIP', ' x-gzip', 'deflate', 'zlib', 'zstd'].map(encodingOf)).toEqual([
      'identity',
      'identity',
      'gzip',
      'gzip',
      'deflate',
      'deflate',
      'zstd',
    ])
    expect([undefined, 'br', 'gzip, gzip', '__proto__', 'constructor'].map(encodingOf)).toEqual([
      'identity',
      undefined,
      undefined,
      undefined,
      undefined,
    ])
  })
})
