import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Session } from 'chdb'
import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { ByteColumn, WordColumn, NullableColumn, StringColumn, type Column } from './columns.ts'
import { LowCardinalityColumn } from './low-cardinality.ts'
import { nativeBlock, nativeStructure, quoteName, quoteText } from './native.ts'

// ClickHouse itself is the judge: it reads what we write.
let folder: string
let session: Session

beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'weir-native-'))
  session = new Session(join(folder, 'data'))
})

afterAll(() => {
  session.close()
  rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
})

async function readBack(columns: readonly Column[], rows: number, select = '*'): Promise<unknown[][]> {
  const path = join(folder, 'block.native')
  writeFileSync(path, Buffer.concat(nativeBlock(columns, rows)))
  const source = `file(${quoteText(path)}, Native, ${quoteText(nativeStructure(columns))})`
  const result = await session.queryAsync(`SELECT ${select} FROM ${source}`, { format: 'JSONCompact' })
  return result.json<{ data: unknown[][] }>().data
}

test('numbers, decimals, times and fixed strings', async () => {
  const u32 = new WordColumn('a', 'UInt32', 4)
  const u64 = new WordColumn('b', 'UInt64', 8)
  const money = new WordColumn('c', 'Decimal(18, 12)', 8)
  const time = new WordColumn('d', "DateTime64(9, 'UTC')", 8)
  const float = new WordColumn('e', 'Float64', 8)
  const id = new WordColumn('f', 'FixedString(16)', 16)
  u32.addU32(0xffff_ffff)
  u64.addU64(Number.MAX_SAFE_INTEGER)
  money.addPair(1_500_000, 0)
  const nanos = Buffer.alloc(8)
  nanos.writeBigUInt64LE(1_700_000_000_123_456_789n)
  time.addBytes(nanos, 0)
  float.addWords(new Uint32Array(Float64Array.of(0.1).buffer), Int32Array.of(0), 2, 0)
  id.addBytes(Buffer.from('00112233445566778899aabbccddeeff', 'hex'), 0)
  expect(
    await readBack(
      [u32, u64, money, time, float, id],
      1,
      'a, toString(b), toString(c), toString(d), e, hex(f)',
    ),
  ).toEqual([
    [
      4294967295,
      '9007199254740991',
      '0.0000015',
      '2023-11-14 22:13:20.123456789',
      0.1,
      '00112233445566778899AABBCCDDEEFF',
    ],
  ])
})

test('nullable values', async () => {
  const cost = new NullableColumn('c', 'Decimal(18, 12)', 8)
  cost.addNull()
  cost.addPair(0xd4a51000, 232)
  expect(await readBack([cost], 2, 'c IS NULL, toString(c)')).toEqual([
    [1, null],
    [0, '1'],
  ])
})

test.each([10, 300, 70_000])(
  'dictionaries of %i values use one, two and four bytes an index',
  async (distinct) => {
    const low = new LowCardinalityColumn('l')
    const plain = new StringColumn('p')
    for (let i = 0; i < distinct + 50; i++) {
      const text = `value ${i % distinct} ${'x'.repeat(i % 60)}`
      low.addText(text)
      plain.addText(text)
    }
    expect(
      await readBack([low, plain], distinct + 50, 'countIf(l != p), uniqExact(l) = uniqExact(p)'),
    ).toEqual([[0, 1]])
  },
)

test('a column that was cleared starts anew', async () => {
  const low = new LowCardinalityColumn('l')
  low.addText('before')
  low.clear()
  low.addText('after')
  expect(await readBack([low], 1)).toEqual([['after']])
})

test('any text comes back as it is', async () => {
  const hex = (text: string) => Buffer.from(text).toString('hex').toUpperCase()
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.string({ unit: 'binary', maxLength: 60 }), { minLength: 1 }),
      async (texts) => {
        const low = new LowCardinalityColumn('l')
        const plain = new StringColumn('t')
        for (const text of texts) {
          low.addText(text)
          plain.addText(text)
        }
        const found = await readBack([low, plain], texts.length, 'hex(l), hex(t)')
        expect(found).toEqual(texts.map((text) => [hex(text), hex(text)]))
      },
    ),
    { numRuns: 40 },
  )
})

test('a string of a megabyte, blank lines and quotes', async () => {
  const text = new StringColumn('t')
  const large = `"a"\n"b"\n\nDROP TABLE victim;\0'\\${'é'.repeat(500_000)}`
  text.addText(large)
  expect(await readBack([text], 1, 'lower(hex(SHA256(t))), length(t)')).toEqual([
    [createHash('sha256').update(large).digest('hex'), Buffer.byteLength(large)],
  ])
})

test('names and literals are quoted for any text', async () => {
  const evil = "a'b\\c`d\0e\n\n; DROP"
  const result = await session.queryAsync(`SELECT hex(${quoteText(evil)}), 1 AS ${quoteName('x`y\\z')}`, {
    format: 'JSON',
  })
  const answer = result.json<{ data: Record<string, unknown>[] }>().data[0] ?? {}
  expect(Object.values(answer)[0]).toBe(Buffer.from(evil).toString('hex').toUpperCase())
  expect(Object.keys(answer)[1]).toBe('x`y\\z')
})

test('rows of a batch go in a column at a time as they do one by one', () => {
  const texts = fc.array(fc.constantFrom('', 'gpt-4o', 'claude', 'ä', 'x'.repeat(50)), { minLength: 1 })
  const cases = texts.chain((all) =>
    fc.tuple(fc.constant(all), fc.uniqueArray(fc.nat({ max: all.length - 1 })), fc.nat({ max: 3 })),
  )
  fc.assert(
    fc.property(cases, ([all, picked, repeats]) => {
      const rows = Int32Array.from(picked)
      const words = Uint32Array.from({ length: all.length * 6 }, (_, i) => i)
      const doubled = [0, 1].map(() => ({
        low: new LowCardinalityColumn('low'),
        text: new StringColumn('text'),
        word: new WordColumn('word', 'UInt64', 8),
        byte: new ByteColumn('byte'),
      }))
      const [whole, single] = doubled as [(typeof doubled)[0], (typeof doubled)[0]]
      whole.low.addText('before')
      const distinct = [...new Set(['', ...all])]
      const indexes = Uint32Array.from(all, (text) => distinct.indexOf(text))
      whole.low.addTexts(distinct, indexes, rows)
      whole.low.addRepeated(0, repeats)
      for (const row of rows) {
        const source = Buffer.from(`--${all[row]!}`)
        const view = new DataView(source.buffer, source.byteOffset, source.length)
        const isAscii = /^[\0-\x7f]*$/.test(all[row]!)
        expect(whole.text.addAscii(view, 2, source.length - 2)).toBe(isAscii)
        if (!isAscii) whole.text.addText(all[row]!)
      }
      whole.word.addWords(words, rows, 6, 2)
      whole.byte.addValues(Uint8Array.from(words), rows)
      single.low.addText('before')
      for (const row of rows) {
        single.low.addText(all[row]!)
        single.text.addText(all[row]!)
        single.word.addPair(row * 6 + 2, row * 6 + 3)
        single.byte.add(row % 256)
      }
      for (let i = 0; i < repeats; i++) single.low.addText('before')
      const bytes = (columns: object) => Buffer.concat(nativeBlock(Object.values(columns), rows.length))
      expect(bytes(whole).equals(bytes(single))).toBe(true)
    }),
  )
})
