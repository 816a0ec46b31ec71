import { expect, test } from 'vitest'
import type { Batch } from '../../pipeline/batch/batch.ts'
import { decodeBatch } from '../../pipeline/batch/otlp-batch.ts'
import { rawView } from '../../pipeline/batch/raw.ts'
import { faultOf } from '../../pipeline/fault.ts'
import { len } from '../../test/otlp/wire-writer.ts'
import { META } from '../../test/otlp/rows-of.ts'
import { fill, MAX_BYTES } from './feed.ts'
import { SpanKernel } from './kernel.ts'
import { Page, START } from './stage.ts'

// What a sender makes large by few bytes, and what is left of it.
const SMALL = batchOf(len(2, len(5, 'small')))

function batchOf(...parts: Uint8Array[]): Batch {
  return decodeBatch(Buffer.from(len(1, len(2, ...parts))), META)
}

const sizeOf = (page: Page) => page.block.parts().reduce((sum, part) => sum + part.length, 0)
const memoryOf = (page: Page) => page.block.kernel.part(0).buffer.byteLength

test('a long scope name, written for each of its spans, ends the block', () => {
  const page = new Page()
  const name = 'n'.repeat(1 << 20)
  for (const field of [1, 2]) {
    const batch = batchOf(len(1, len(field, name)), ...Array<Uint8Array>(300).fill(len(2, len(5, 's'))))
    const { rows, to } = fill(page.block, page.writer, [batch], START)
    expect([rows, to]).toEqual([MAX_BYTES >> 20, { batch: 0, row: MAX_BYTES >> 20 }])
    expect(sizeOf(page)).toBeLessThan(MAX_BYTES + (2 << 20))
  }
})

test('a value that is six times as long in words is written, and its memory given back', () => {
  const page = new Page()
  // 348 million characters of JSON: "\u0001\u0001…"
  const bytes = 58 << 20
  const value = len(5, len(1, len(1, new Uint8Array(bytes).fill(1))))
  const batch = batchOf(len(2, len(9, len(1, 'k'), len(2, value))))
  expect(fill(page.block, page.writer, [batch], START).rows).toBe(1)
  expect(sizeOf(page)).toBeGreaterThan(bytes * 6)
  expect(fill(page.block, page.writer, [SMALL], START).rows).toBe(1)
  expect(memoryOf(page)).toBeLessThan(1 << 20)
})

test('a kernel that trapped refuses what it read, and another takes its place', () => {
  const page = new Page()
  fill(page.block, page.writer, [SMALL], START)
  const { kernel } = page.block
  const wanted = Buffer.concat(page.block.parts())
  const { bytes, table } = rawView(SMALL)
  const spans = table.spans.map((field, at) => (at === 6 ? 0x7fff_0000 : field))
  kernel.open({ bytes, table: { ...table, spans }, rows: undefined }, 'acme', 0)
  let error: unknown
  try {
    kernel.add(0, 1, 1, 1)
  } catch (thrown) {
    error = thrown
  }
  expect(faultOf(error)).toMatchObject({ code: 'EXPORT_REJECTED', verdict: { do: 'reject' } })
  expect(fill(page.block, page.writer, [SMALL], START).rows).toBe(1)
  expect(page.block.kernel).not.toBe(kernel)
  expect(Buffer.concat(page.block.parts()).equals(wanted)).toBe(true)
})

test('a kernel is kept from block to block', () => {
  const page = new Page()
  fill(page.block, page.writer, [SMALL], START)
  const { kernel } = page.block
  expect(kernel).toBeInstanceOf(SpanKernel)
  fill(page.block, page.writer, [SMALL], START)
  expect(page.block.kernel).toBe(kernel)
})

test('what a block holds stays while another is filled and grows', () => {
  const [sent, other] = [new Page(), new Page()]
  fill(sent.block, sent.writer, [SMALL], START)
  const parts = sent.block.parts()
  const before = Buffer.concat(parts)
  const large = batchOf(len(2, len(5, 'large'), len(9, len(1, 'k'), len(2, len(1, 'x'.repeat(8 << 20))))))
  fill(other.block, other.writer, [large, SMALL], START)
  expect(sizeOf(other)).toBeGreaterThan(8 << 20)
  expect(Buffer.concat(parts).equals(before)).toBe(true)
})
